package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// way is the network between a replica and the database.
type way struct{ *toxiproxy.Proxy }

func openWay(name, to string) (*way, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics log by themselves
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w := &way{toxiproxy.NewProxy(server, name, "127.0.0.1:0", to)}
	if err := w.Start(); err != nil {
		return nil, fmt.Errorf("open the way of %s to the database: %w", name, err)
	}
	return w, nil
}

// trouble is one thing that is wrong with a connection: kind and attributes as toxiproxy names them.
type trouble struct {
	kind       string
	attributes map[string]any
}

// spoil puts troubles on both directions and returns how to take them away.
func (w *way) spoil(troubles ...trouble) (restore func() error, err error) {
	restore = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		w.Toxics.ResetToxics(ctx)
		return ctx.Err()
	}
	for n, t := range troubles {
		for _, direction := range []string{"upstream", "downstream"} {
			text, err := json.Marshal(map[string]any{"name": fmt.Sprintf("%s-%d-%s", t.kind, n, direction), "type": t.kind, "stream": direction, "attributes": t.attributes})
			if err != nil {
				return restore, err
			}
			if _, err := w.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
				return restore, fmt.Errorf("put %s on %s: %w", t.kind, w.Name, err)
			}
		}
	}
	return restore, nil
}
