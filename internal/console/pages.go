package console

import (
	"github.com/arauto/arauto/internal/console/notifications"
	"github.com/arauto/arauto/internal/console/page"
)

// sections is the table of pages, in the order of the navigation.
func sections() []page.Section {
	return []page.Section{
		notifications.Section(),
	}
}
