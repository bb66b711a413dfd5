// Package deploy renders the files of docs/operations/deploy as the tools of their readers do, and judges what comes out: the
// Kustomize base, the Helm chart, the compose file and the dashboard of Grafana.
//
// It is a module of its own, so that the libraries of these tools are no libraries of the product. It starts no container and asks no
// cluster: what a cluster's admission or a registry would refuse is not found here.
package deploy
