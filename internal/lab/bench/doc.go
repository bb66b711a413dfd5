// Package bench holds the product's figures as benchmarks: whole runs against a durable PostgreSQL, real mTLS and
// replicas in processes of their own, each beside the physical limit measured in the same run. It has no code of its
// own; `make bench` runs it and prints machine, method and figures on one page.
package bench
