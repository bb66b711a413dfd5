package page

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
)

// Lang is the language of a page.
type Lang string

// The languages of the console. Portuguese is the default.
const (
	Portuguese Lang = "pt"
	English    Lang = "en"
)

// Langs lists the languages, the default first.
func Langs() []Lang { return []Lang{Portuguese, English} }

// Tag is the language as HTML and HTTP name it.
func (l Lang) Tag() string {
	if l == English {
		return "en"
	}
	return "pt-BR"
}

// wordsFile is where a folder keeps its words: {"key": ["em português", "in English"]}.
const wordsFile = "words.json"

// bilingual are texts by key, in both languages.
type bilingual map[string][2]string

// readWords reads the words of a folder. The error names the first key that lacks a language.
func readWords(files fs.FS) (bilingual, error) {
	text, err := fs.ReadFile(files, wordsFile)
	if err != nil {
		return nil, err
	}
	var raw map[string][]string
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("%s: %w", wordsFile, err)
	}
	out := bilingual{}
	for key, both := range raw {
		if len(both) != 2 || both[0] == "" || both[1] == "" {
			return nil, fmt.Errorf("%s: %s: write two texts, Portuguese and English", wordsFile, key)
		}
		out[key] = [2]string{both[0], both[1]}
	}
	return out, nil
}

// in returns a text; false: there is none.
func (w bilingual) in(l Lang, key string) (string, bool) {
	both, there := w[key]
	if l == English {
		return both[1], there
	}
	return both[0], there
}

// Text is the text of a key in the folder's words, then in the common ones, with args put in as fmt.Sprintf does. A key without
// a text is returned itself; a test finds it.
func (s *Sheet) Text(l Lang, key string, args ...any) string {
	text, there := s.own.in(l, key)
	if !there {
		if text, there = s.common.in(l, key); !there {
			return key
		}
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// Said is what is wrong, with the label of the field in place of the API's parameter, where the field has one.
func (s *Sheet) Said(l Lang, w Wrong) string {
	label := func(name string) (string, bool) { key := "field." + name; return s.Text(l, key), s.Has(key) }
	name := strings.TrimPrefix(w.Pointer, "/")
	called, known := label(name)
	rest, named := strings.CutPrefix(w.Detail, name)
	if !known || !named || rest == "" || rest[0] != ':' && rest[0] != ' ' {
		return w.Detail
	}
	if before, ends := strings.CutSuffix(rest, " from"); ends {
		from, _ := label("from")
		rest = before + " “" + from + "”"
	}
	return called + rest
}

// Counted is the text of a key for a number, which is put in first, written for people. Where the number is 1 it is the text of
// key.one, if there is one.
func (s *Sheet) Counted(l Lang, key string, n any, more ...any) string {
	if one := key + ".one"; number(n) == 1 && s.Has(one) {
		key = one
	}
	return s.Text(l, key, append([]any{whole(l, n)}, more...)...)
}

// Has tells whether a key has a text.
func (s *Sheet) Has(key string) bool {
	_, own := s.own[key]
	_, common := s.common[key]
	return own || common
}
