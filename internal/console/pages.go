package console

import (
	"github.com/arauto/arauto/internal/console/certificates"
	"github.com/arauto/arauto/internal/console/initiators"
	"github.com/arauto/arauto/internal/console/late"
	"github.com/arauto/arauto/internal/console/notifications"
	"github.com/arauto/arauto/internal/console/now"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/console/resources"
	"github.com/arauto/arauto/internal/console/sealedlog"
	"github.com/arauto/arauto/internal/console/sources"
)

// sections is the table of pages, in the order of the navigation.
func sections() []page.Section {
	return []page.Section{
		now.Section(),
		notifications.Section(),
		initiators.Section(),
		late.Section(),
		sources.Section(),
		certificates.Section(),
		sealedlog.Section(),
		resources.Section(),
	}
}
