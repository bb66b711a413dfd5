package witness

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/arauto/arauto/internal/audit"
)

// maxRequest bounds a request: 63 hashes and a checkpoint with many signatures.
const maxRequest = 64 << 10

// Handler serves the addresses of C2SP tlog-witness: POST /add-checkpoint, and GET /HASH/checkpoint for monitors.
func (w *Witness) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", w.addCheckpoint)
	mux.HandleFunc("GET /{hash}/checkpoint", func(rw http.ResponseWriter, r *http.Request) {
		note, there := w.Newest(r.PathValue("hash"))
		if !there {
			http.Error(rw, "the witness vouched for no checkpoint of this log", http.StatusNotFound)
			return
		}
		plain(rw)
		_, _ = rw.Write(note)
	})
	return mux
}

func plain(rw http.ResponseWriter) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	rw.Header().Set("Cache-Control", "no-store")
}

// addCheckpoint answers as C2SP tlog-witness prescribes for each case.
func (w *Witness) addCheckpoint(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxRequest))
	if err != nil {
		http.Error(rw, "the request cannot be read, or is longer than 64 KiB", http.StatusBadRequest)
		return
	}
	asked, err := audit.ParseCosignRequest(body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	line, err := w.Vouch(asked)
	size, is := errors.AsType[*SizeError](err)
	switch {
	case err == nil:
		plain(rw)
		_, _ = rw.Write(line)
	case is:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(http.StatusConflict)
		fmt.Fprintf(rw, "%d\n", size.Size)
	case errors.Is(err, ErrUnknownLog):
		http.Error(rw, ErrUnknownLog.Error(), http.StatusNotFound)
	case errors.Is(err, ErrSignature):
		http.Error(rw, ErrSignature.Error(), http.StatusForbidden)
	case errors.Is(err, ErrRequest):
		http.Error(rw, ErrRequest.Error(), http.StatusBadRequest)
	case errors.Is(err, ErrFork):
		http.Error(rw, ErrFork.Error(), http.StatusUnprocessableEntity)
	default:
		http.Error(rw, "the witness cannot store the checkpoint now; ask again later", http.StatusInternalServerError)
	}
}
