package console

import (
	"github.com/arauto/arauto/internal/console/access"
	"github.com/arauto/arauto/internal/console/certificates"
	"github.com/arauto/arauto/internal/console/exports"
	"github.com/arauto/arauto/internal/console/find"
	"github.com/arauto/arauto/internal/console/holds"
	"github.com/arauto/arauto/internal/console/initiators"
	"github.com/arauto/arauto/internal/console/late"
	"github.com/arauto/arauto/internal/console/manual"
	"github.com/arauto/arauto/internal/console/notifications"
	"github.com/arauto/arauto/internal/console/now"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/console/quarantine"
	"github.com/arauto/arauto/internal/console/reconciliation"
	"github.com/arauto/arauto/internal/console/requests"
	"github.com/arauto/arauto/internal/console/resources"
	"github.com/arauto/arauto/internal/console/sealedlog"
	"github.com/arauto/arauto/internal/console/settings"
	"github.com/arauto/arauto/internal/console/sources"
)

// sections is the table of pages, in the order of the navigation.
func sections() []page.Section {
	return []page.Section{
		now.Section(),
		notifications.Section(),
		initiators.Section(),
		late.Section(),
		quarantine.Section(),
		requests.Section(),
		sources.Section(),
		certificates.Section(),
		sealedlog.Section(),
		exports.Section(),
		holds.Section(),
		reconciliation.Section(),
		access.Section(),
		settings.Section(),
		manual.Section(),
		resources.Section(),
		find.Section(),
	}
}
