package seal

import (
	"context"
	"crypto/ed25519"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/audit"
)

// newestTimeout bounds the search for the newest object, of about forty requests.
const newestTimeout = 20 * time.Second

// errUnseen means that the log could not be compared with the object store yet.
var errUnseen = errors.New("the log is not compared with the object store yet, it will be tried again")

// maxForeign is how many foreign objects one search passes over. The next search goes on below them.
const maxForeign = 16

// last returns the newest checkpoint of this log, which is the valid one of the largest size; nil without one. It passes over
// foreign objects, and then also returns errForeign.
func (o *objectAnchor) last(ctx context.Context, key ed25519.PublicKey) (*audit.Checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, newestTimeout)
	defer cancel()
	o.odd = nil
	size, err := o.largest(ctx, o.own)
	if err != nil {
		return nil, err
	}
	passed, below := 0, size
	for ; size > 0; size, err = o.before(ctx, size) {
		if err != nil {
			return nil, err
		}
		below = size
		if o.foreign[size] {
			continue
		}
		if passed == maxForeign {
			break
		}
		response, err := o.do(ctx, objectRequest{method: http.MethodGet, path: o.path(size)})
		if err != nil {
			return nil, err
		}
		if response.status != http.StatusOK {
			return nil, response.error()
		}
		if c, err := audit.OpenCheckpoint(response.body, key); err == nil && c.Size == size {
			o.own = size
			return &c, o.tellForeign()
		}
		if o.foreign == nil {
			o.foreign = map[int64]bool{}
		}
		o.foreign[size] = true
		passed++
	}
	if err != nil {
		return nil, err
	}
	if below > 0 && size > 0 {
		return nil, fmt.Errorf("%w: the object store has %d objects or more under this log's prefix, the newest one of this log is looked for below %d", errForeign, len(o.foreign)+len(o.odd), below)
	}
	return nil, o.tellForeign()
}

// tellForeign returns errForeign if the search met objects that are no checkpoints of this log.
func (o *objectAnchor) tellForeign() error {
	names := slices.Clone(o.odd)
	for size := range o.foreign {
		names = append(names, fmt.Sprintf("%020d", size))
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("%w: the object store has %d such objects under this log's prefix, one is %q", errForeign, len(names), names[0])
}

// before returns the largest size of an object below a size; 0: there is none. Sizes mostly lie close together, so it steps back
// by 1, 2, 4 and so on, and then halves.
func (o *objectAnchor) before(ctx context.Context, size int64) (int64, error) {
	for step := int64(1); ; step *= 2 {
		from := max(0, size-1-step)
		next, err := o.after(ctx, from)
		if err != nil {
			return 0, err
		}
		if next > 0 && next < size {
			low, high := next, size-1 // low is there
			for low < high {
				middle := low + (high-low+1)/2
				if next, err = o.after(ctx, middle-1); err != nil {
					return 0, err
				}
				if next == 0 || next >= size {
					high = middle - 1
				} else {
					low = next
				}
			}
			return low, nil
		}
		if from == 0 {
			return 0, nil
		}
	}
}

// largest returns the largest size of an object; 0: there is none. A store lists upwards only and may hold millions of objects, so
// the search steps up from a known size by 1, 2, 4 and so on, and then halves.
func (o *objectAnchor) largest(ctx context.Context, known int64) (int64, error) {
	low := known   // an object has it, or it is 0
	var high int64 // no object has a larger one
	for step := int64(1); ; step *= 2 {
		next, err := o.after(ctx, low+step-1)
		if err != nil {
			return 0, err
		}
		if next == 0 {
			high = low + step - 1
			break
		}
		low = next
	}
	for low < high {
		middle := low + (high-low)/2
		next, err := o.after(ctx, middle)
		if err != nil {
			return 0, err
		}
		if next == 0 {
			high = middle
		} else {
			low = next
		}
	}
	return low, nil
}

// maxOdd is how many names that are no sizes one call of after passes over.
const maxOdd = 100

// after returns the smallest size of an object above a size; 0: there is none. It notes names between them that are no sizes.
func (o *objectAnchor) after(ctx context.Context, size int64) (int64, error) {
	start := fmt.Sprintf("%020d", size)
	for range maxOdd {
		name, err := o.next(ctx, start)
		if err != nil || name == "" || name[0] > '9' { // it sorts behind all sizes
			return 0, err
		}
		next, err := strconv.ParseInt(name, 10, 64)
		if err == nil && len(name) == len(start) && next > size {
			return next, nil
		}
		if !slices.Contains(o.odd, name) {
			o.odd = append(o.odd, name)
		}
		start = name
	}
	return 0, fmt.Errorf("%w: the object store has more than %d objects under this log's prefix that are not named as checkpoints, one is %q", errForeign, maxOdd, o.odd[0])
}

// next returns the name of the first object after a name; "": there is none.
func (o *objectAnchor) next(ctx context.Context, name string) (string, error) {
	query := url.Values{"list-type": {"2"}, "max-keys": {"1"}, "prefix": {o.store.Prefix + "/"}, "start-after": {o.store.Prefix + "/" + name}}
	response, err := o.do(ctx, objectRequest{method: http.MethodGet, path: "/" + o.store.Bucket, query: query})
	if err != nil {
		return "", err
	}
	if response.status != http.StatusOK {
		return "", response.error()
	}
	var list struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []struct{ Key string }
	}
	if err := xml.Unmarshal(response.body, &list); err != nil {
		return "", errors.New("the object store answered no list of objects")
	}
	if len(list.Contents) == 0 {
		return "", nil
	}
	found, inside := strings.CutPrefix(list.Contents[0].Key, o.store.Prefix+"/")
	if !inside || found <= name {
		return "", errors.New("the object store answered a list that does not fit the question")
	}
	return found, nil
}
