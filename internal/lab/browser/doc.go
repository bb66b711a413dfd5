// Package browser holds the tests that use the console as people do: in a real Chromium, against whole gateways on a real database
// with a real OpenID provider. One browser, one database and one set of stories serve all of them.
//
// A page joins by one row in the table stops (walk_test.go). The walk opens it in Portuguese and English, narrow, dark, printed and
// without JavaScript; axe judges it; and no page may break the content security policy. An act joins by a test of its own.
//
// Without a Chromium the tests are skipped, unless ARAUTO_REQUIRE_BROWSER=1. With ARAUTO_SCREENSHOTS=1 they write the pictures of
// docs/images.
package browser
