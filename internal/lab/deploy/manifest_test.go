package deploy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// files is the folder that is judged.
const files = "../../../docs/operations/deploy"

// object is one decoded object.
type object interface {
	metav1.Object
	metav1.ObjectMetaAccessor
}

// objects makes an object of each kind that the files may have.
var objects = map[string]func() object{
	"v1 ServiceAccount":                  func() object { return &corev1.ServiceAccount{} },
	"v1 Service":                         func() object { return &corev1.Service{} },
	"v1 ConfigMap":                       func() object { return &corev1.ConfigMap{} },
	"policy/v1 PodDisruptionBudget":      func() object { return &policyv1.PodDisruptionBudget{} },
	"networking.k8s.io/v1 NetworkPolicy": func() object { return &networkingv1.NetworkPolicy{} },
	"apps/v1 StatefulSet":                func() object { return &appsv1.StatefulSet{} },
	"batch/v1 Job":                       func() object { return &batchv1.Job{} },

	"monitoring.coreos.com/v1 ServiceMonitor": func() object { return &serviceMonitor{} },
}

// serviceMonitor is the part of the operator's object that the chart has.
type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Interval string `json:"interval"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// decode reads objects strictly: an unknown or repeated member, or a value of another type, is an error.
func decode(t *testing.T, text []byte) map[string]object {
	t.Helper()
	all := map[string]object{}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		var head metav1.TypeMeta
		require.NoError(t, yaml.Unmarshal(document, &head))
		if head.Kind == "" {
			continue // a comment alone
		}
		kind := head.APIVersion + " " + head.Kind
		fresh, known := objects[kind]
		require.True(t, known, "%s is not a kind that is judged here", kind)
		o := fresh()
		require.NoError(t, yaml.UnmarshalStrict(document, o), "%s", document)
		name := kind + " " + o.GetName()
		require.NotContains(t, all, name)
		all[name] = o
	}
}

func kustomize(t *testing.T, folder string) map[string]object {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(files, "kustomize", folder))
	require.NoError(t, err)
	text, err := made.AsYaml()
	require.NoError(t, err)
	return decode(t, text)
}

func helm(t *testing.T, values map[string]any) map[string]object {
	t.Helper()
	text, err := render(t, values)
	require.NoError(t, err)
	return decode(t, []byte(text))
}

// render is the text of the chart's objects.
func render(t *testing.T, values map[string]any) (string, error) {
	t.Helper()
	c, err := loader.Load(filepath.Join(files, "helm", "arauto"))
	require.NoError(t, err)
	require.NoError(t, c.Validate())
	with, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "arauto", Namespace: "payments", Revision: 1, IsInstall: true}, chartutil.DefaultCapabilities)
	require.NoError(t, err)
	strict := engine.Engine{Strict: true}
	rendered, err := strict.Render(c, with)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if !strings.HasSuffix(name, ".tpl") {
			text.WriteString("---\n" + rendered[name] + "\n")
		}
	}
	return text.String(), nil
}

// hashed is what Kustomize adds to the name of a ConfigMap.
var hashed = regexp.MustCompile(`^arauto-[0-9a-z]{10}$`)

// plain takes off what the two tools add: labels, annotations, the hash in the ConfigMap's name, and comments of the settings.
func plain(t *testing.T, all map[string]object) map[string]object {
	t.Helper()
	out := map[string]object{}
	for name, o := range all {
		o.SetLabels(nil)
		o.SetAnnotations(nil)
		switch o := o.(type) {
		case *corev1.ConfigMap:
			if hashed.MatchString(o.Name) {
				o.Name = "arauto"
			}
			name = "v1 ConfigMap " + o.Name
			o.Data["arauto.yaml"] = canonical(t, o.Data["arauto.yaml"])
		case *appsv1.StatefulSet:
			o.Spec.Template.Labels = map[string]string{"app": o.Spec.Template.Labels["app"]}
			o.Spec.Template.Annotations = nil
			for i := range o.Spec.VolumeClaimTemplates {
				o.Spec.VolumeClaimTemplates[i].Labels = nil
			}
			for i := range o.Spec.Template.Spec.Volumes {
				if c := o.Spec.Template.Spec.Volumes[i].ConfigMap; c != nil && hashed.MatchString(c.Name) {
					c.Name = "arauto"
				}
			}
		case *batchv1.Job:
			o.Spec.Template.Labels = map[string]string{"app": o.Spec.Template.Labels["app"]}
		}
		out[name] = o
	}
	return out
}

func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &v))
	out, err := yaml.Marshal(v)
	require.NoError(t, err)
	return string(out)
}

// TestTheHelmChartRendersWhatTheKustomizeBaseHas: two ways, one deployment.
func TestTheHelmChartRendersWhatTheKustomizeBaseHas(t *testing.T) {
	base := kustomize(t, "base")
	maps.Copy(base, kustomize(t, "migrate"))
	want, got := plain(t, base), plain(t, helm(t, nil))
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for name := range want {
		require.Equal(t, want[name], got[name], name)
	}
}

func TestTheChartsValuesReachTheObjects(t *testing.T) {
	all := helm(t, map[string]any{
		"image": "registry.bank.example/arauto:v9", "replicas": 5, "memory": map[string]any{"limit": "3Gi", "go": "2GiB"},
		"secrets": map[string]any{"keys": "other-keys"}, "network": map[string]any{"database": map[string]any{"cidrs": []string{"10.9.8.7/32", "10.9.8.8/32"}, "port": 6432}},
		"settings": map[string]any{"public": map[string]any{"max_rate": 900}},
	})
	set := all["apps/v1 StatefulSet arauto"].(*appsv1.StatefulSet)
	require.EqualValues(t, 5, *set.Spec.Replicas)
	require.Equal(t, "registry.bank.example/arauto:v9", set.Spec.Template.Spec.Containers[0].Image)
	require.Equal(t, "3Gi", set.Spec.Template.Spec.Containers[0].Resources.Limits.Memory().String())
	require.Equal(t, "other-keys", volume(t, &set.Spec.Template.Spec, "secret").Secret.SecretName)
	require.Equal(t, 4, all["policy/v1 PodDisruptionBudget arauto"].(*policyv1.PodDisruptionBudget).Spec.MinAvailable.IntValue())
	for _, name := range []string{"arauto", "arauto-migrate"} {
		to := all["networking.k8s.io/v1 NetworkPolicy "+name].(*networkingv1.NetworkPolicy).Spec.Egress[1]
		require.Equal(t, "10.9.8.7/32", to.To[0].IPBlock.CIDR)
		require.Equal(t, "10.9.8.8/32", to.To[1].IPBlock.CIDR)
		require.Equal(t, 6432, to.Ports[0].Port.IntValue())
	}
	settings := all["v1 ConfigMap arauto"].(*corev1.ConfigMap).Data["arauto.yaml"]
	require.Contains(t, settings, "max_rate: 900")
	require.Contains(t, settings, "base_url: https://api.banco.example.com")
	other := helm(t, nil)["apps/v1 StatefulSet arauto"].(*appsv1.StatefulSet)
	require.NotEqual(t, other.Spec.Template.Annotations, set.Spec.Template.Annotations, "other settings restart the replicas")
	require.Equal(t, "batch/v1 Job arauto-migrate", first(all, "batch/v1 Job"))
	require.Equal(t, "pre-install,pre-upgrade", all["batch/v1 Job arauto-migrate"].GetAnnotations()["helm.sh/hook"])
}

// TestWhatAClusterAsksForReachesTheObjects: a private registry, a pool of nodes, a class of disks, a balancer, mappings, the console and
// Prometheus' operator need no copy of the chart.
func TestWhatAClusterAsksForReachesTheObjects(t *testing.T) {
	rule := map[string]any{"ports": []any{map[string]any{"port": 9093, "protocol": "TCP"}}}
	all := helm(t, map[string]any{
		"pod":          map[string]any{"imagePullSecrets": []any{map[string]any{"name": "pull"}}, "nodeSelector": map[string]any{"zone": "payments"}},
		"storageClass": "fast", "public": map[string]any{"type": "LoadBalancer", "annotations": map[string]any{"bank/balancer": "tcp"}},
		"files": map[string]any{"core.yaml": "source: core\n"}, "monitor": map[string]any{"enabled": true, "labels": map[string]any{"release": "prometheus"}},
		"network": map[string]any{"egress": []any{rule}}, "settings": map[string]any{"console": map[string]any{"addr": "0.0.0.0:9643"}},
	})
	set := all["apps/v1 StatefulSet arauto"].(*appsv1.StatefulSet)
	for _, pod := range []*corev1.PodSpec{&set.Spec.Template.Spec, &all["batch/v1 Job arauto-migrate"].(*batchv1.Job).Spec.Template.Spec} {
		require.Equal(t, "pull", pod.ImagePullSecrets[0].Name)
		require.Equal(t, "payments", pod.NodeSelector["zone"])
	}
	require.Equal(t, "fast", *set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName)
	service := all["v1 Service arauto-public"].(*corev1.Service)
	require.Equal(t, corev1.ServiceTypeLoadBalancer, service.Spec.Type)
	require.Equal(t, "tcp", service.Annotations["bank/balancer"])
	require.Equal(t, "source: core\n", all["v1 ConfigMap arauto"].(*corev1.ConfigMap).Data["core.yaml"])
	policy := all["networking.k8s.io/v1 NetworkPolicy arauto"].(*networkingv1.NetworkPolicy)
	require.Equal(t, 9093, policy.Spec.Egress[len(policy.Spec.Egress)-1].Ports[0].Port.IntValue())

	require.Contains(t, set.Spec.Template.Spec.Containers[0].Ports, corev1.ContainerPort{Name: "console", ContainerPort: 9643})
	require.Equal(t, int32(9643), all["v1 Service arauto-console"].(*corev1.Service).Spec.Ports[0].Port)
	require.Equal(t, "console", policy.Spec.Ingress[1].Ports[1].Port.StrVal)
	monitor := all["monitoring.coreos.com/v1 ServiceMonitor arauto"].(*serviceMonitor)
	require.Equal(t, "prometheus", monitor.Labels["release"])
	selects(t, monitor.Spec.Selector.MatchLabels, all["v1 Service arauto-replicas"].GetLabels(), "the monitor")
	require.Equal(t, all["v1 Service arauto-replicas"].(*corev1.Service).Spec.Ports[0].Name, monitor.Spec.Endpoints[0].Port)

	plain := helm(t, nil)
	require.NotContains(t, plain, "monitoring.coreos.com/v1 ServiceMonitor arauto")
	require.NotContains(t, plain, "v1 Service arauto-console")
}

// TestANetworkOfTheDatabaseThatIsNotAListIsRefused: to leave it out would open the port of the database to every address.
func TestANetworkOfTheDatabaseThatIsNotAListIsRefused(t *testing.T) {
	for want, database := range map[string]map[string]any{
		"network.database.cidr is now cidrs, a list":       {"cidr": "10.9.8.7/32"},
		"network.database.cidrs: \"10.9.8.7/32\" is not a": {"cidrs": "10.9.8.7/32"},
		"network.database.cidrs: [] is not a":              {"cidrs": []any{}},
	} {
		_, err := render(t, map[string]any{"network": map[string]any{"database": database}})
		require.ErrorContains(t, err, want)
	}
}

// TestNullTakesASettingAway as the page says, whether the example has the setting or not.
func TestNullTakesASettingAway(t *testing.T) {
	for _, console := range []any{nil, map[string]any{"addr": nil}, map[string]any{}} {
		all := helm(t, map[string]any{"settings": map[string]any{"console": console, "public": map[string]any{"crl": nil}}})
		require.NotContains(t, all, "v1 Service arauto-console")
		require.NotContains(t, all["v1 ConfigMap arauto"].(*corev1.ConfigMap).Data["arauto.yaml"], "clients.crl")
	}
}

// TestThePageNamesTheLabelsOfNamespaces that the policy of the network lets in: without them nobody reaches the ports for the bank.
func TestThePageNamesTheLabelsOfNamespaces(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operations/running.md")
	require.NoError(t, err)
	labels := 0
	for _, rule := range kustomize(t, "base")["networking.k8s.io/v1 NetworkPolicy arauto"].(*networkingv1.NetworkPolicy).Spec.Ingress {
		for _, from := range rule.From {
			for k, v := range from.NamespaceSelector.MatchLabels {
				labels++
				require.Regexp(t, `kubectl label namespace \S+ `+k+"="+v, string(page))
			}
		}
	}
	require.Equal(t, 2, labels)
}

// TestKeysAreCopiedAgain: the runtime of a node may start init containers twice in one pod, and the keys of the first copy cannot be
// written to.
func TestKeysAreCopiedAgain(t *testing.T) {
	set := kustomize(t, "base")["apps/v1 StatefulSet arauto"].(*appsv1.StatefulSet)
	command := set.Spec.Template.Spec.InitContainers[0].Command
	secret, keys := t.TempDir(), t.TempDir()
	script := strings.NewReplacer("/secret/", secret+"/", "/etc/arauto-keys/", keys+"/").Replace(command[len(command)-1])
	for _, name := range []string{"old.key", "new.key"} {
		require.NoError(t, os.WriteFile(filepath.Join(secret, name), []byte(name), 0o600))
		out, err := exec.CommandContext(t.Context(), "sh", "-c", script).CombinedOutput()
		require.NoError(t, err, "%s", out)
		all, err := os.ReadDir(keys)
		require.NoError(t, err)
		require.Len(t, all, 1, "what left the secret leaves the copy")
		info, err := all[0].Info()
		require.NoError(t, err)
		require.Equal(t, name, info.Name())
		require.Equal(t, os.FileMode(0o400), info.Mode())
		require.NoError(t, os.Remove(filepath.Join(secret, name)))
	}
}

func first(all map[string]object, kind string) string {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, kind+" ") {
			return name
		}
	}
	return ""
}

func volume(t *testing.T, pod *corev1.PodSpec, name string) *corev1.Volume {
	t.Helper()
	i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	require.GreaterOrEqual(t, i, 0, "no volume %s", name)
	return &pod.Volumes[i]
}

// TestTheObjectsFitEachOther: what one names, another has.
func TestTheObjectsFitEachOther(t *testing.T) {
	all := kustomize(t, "base")
	maps.Copy(all, kustomize(t, "migrate"))
	set := all["apps/v1 StatefulSet arauto"].(*appsv1.StatefulSet)
	pod := &set.Spec.Template.Spec
	labels := set.Spec.Template.Labels
	require.Contains(t, all, "v1 ServiceAccount "+pod.ServiceAccountName)
	require.Contains(t, all, "v1 Service "+set.Spec.ServiceName)
	require.Contains(t, all, "v1 ConfigMap "+volume(t, pod, "settings").ConfigMap.Name)
	require.False(t, *pod.EnableServiceLinks, "variables that Kubernetes makes of services would begin as settings do")
	wait := pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds
	require.Positive(t, wait, "balancers go on sending connections for a moment")
	require.GreaterOrEqual(t, *pod.TerminationGracePeriodSeconds, wait+25, "a drain takes 20 s")

	ports := map[string]bool{}
	for _, p := range pod.Containers[0].Ports {
		ports[p.Name] = true
	}
	for name, o := range all {
		switch o := o.(type) {
		case *corev1.Service:
			selects(t, o.Spec.Selector, labels, name)
			for _, p := range o.Spec.Ports {
				require.True(t, ports[p.TargetPort.StrVal], "%s: the pod has no port %s", name, p.TargetPort.StrVal)
			}
		case *policyv1.PodDisruptionBudget:
			selects(t, o.Spec.Selector.MatchLabels, labels, name)
			require.Less(t, o.Spec.MinAvailable.IntValue(), int(*set.Spec.Replicas))
		case *networkingv1.NetworkPolicy:
			of := labels
			if o.Name == "arauto-migrate" {
				of = all["batch/v1 Job arauto-migrate"].(*batchv1.Job).Spec.Template.Labels
			}
			selects(t, o.Spec.PodSelector.MatchLabels, of, name)
			for _, rule := range o.Spec.Ingress {
				require.True(t, ports[rule.Ports[0].Port.StrVal], "%s: the pod has no port %s", name, rule.Ports[0].Port.StrVal)
			}
		case *appsv1.StatefulSet:
			selects(t, o.Spec.Selector.MatchLabels, labels, name)
		case *batchv1.Job:
			require.Equal(t, corev1.RestartPolicyNever, o.Spec.Template.Spec.RestartPolicy, "%s: otherwise the pod is deleted at the last failure, and its log with it", name)
			mounts(t, &o.Spec.Template.Spec, nil)
		}
	}
	mounts(t, pod, set.Spec.VolumeClaimTemplates)
	for _, name := range []string{"secret", "database"} {
		require.EqualValues(t, 0o440, *volume(t, pod, name).Secret.DefaultMode, "the pod's group reads it")
	}
}

func selects(t *testing.T, selector, labels map[string]string, name string) {
	t.Helper()
	require.NotEmpty(t, selector, name)
	for k, v := range selector {
		require.Equal(t, v, labels[k], name)
	}
}

// mounts compares what the containers mount with the volumes of the pod, and what they may do.
func mounts(t *testing.T, pod *corev1.PodSpec, claims []corev1.PersistentVolumeClaim) {
	t.Helper()
	there := map[string]bool{}
	for _, v := range pod.Volumes {
		there[v.Name] = true
	}
	for _, c := range claims {
		there[c.Name] = true
	}
	require.True(t, *pod.SecurityContext.RunAsNonRoot)
	used := map[string]bool{}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, m := range c.VolumeMounts {
			require.True(t, there[m.Name], "%s mounts %s, which the pod does not have", c.Name, m.Name)
			used[m.Name] = true
		}
		require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, c.Name)
		require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, c.Name)
		require.Contains(t, c.Image, ":", "%s has a version", c.Name)
		require.False(t, c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero(), "%s: a namespace with a quota takes no pod without", c.Name)
	}
	require.Equal(t, len(there), len(used), "a volume that no container mounts")
}

// TestTheSettingsFitThePod: every file that the settings name is mounted, and every address can be reached in a pod.
func TestTheSettingsFitThePod(t *testing.T) {
	all := kustomize(t, "base")
	set := all["apps/v1 StatefulSet arauto"].(*appsv1.StatefulSet)
	main := set.Spec.Template.Spec.Containers[0]
	text := all["v1 ConfigMap "+volume(t, &set.Spec.Template.Spec, "settings").ConfigMap.Name].(*corev1.ConfigMap).Data["arauto.yaml"]
	var settings map[string]any
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &settings))

	for _, path := range regexp.MustCompile(`(?:^|[\s=])(/[a-z][\w/.-]+)`).FindAllStringSubmatch(text, -1) {
		held := slices.ContainsFunc(main.VolumeMounts, func(m corev1.VolumeMount) bool {
			return path[1] == m.MountPath || strings.HasPrefix(path[1], m.MountPath+"/")
		})
		require.True(t, held, "%s is in no mount", path[1])
	}
	for _, e := range main.Env {
		if strings.HasPrefix(e.Value, "/") {
			held := slices.ContainsFunc(main.VolumeMounts, func(m corev1.VolumeMount) bool { return strings.HasPrefix(e.Value, m.MountPath+"/") })
			require.True(t, held, "%s is in no mount", e.Value)
		}
	}
	for _, p := range main.Ports {
		addr, ok := settings[p.Name].(map[string]any)["addr"].(string)
		require.True(t, ok, "%s.addr is not set", p.Name)
		require.Equal(t, ":"+strings.TrimPrefix(addr, ":"), addr, "an address of a machine is not one of a pod")
		require.Equal(t, addr, fmt.Sprintf(":%d", p.ContainerPort))
	}
	state, ok := settings["state_dir"].(string)
	require.True(t, ok)
	i := slices.IndexFunc(main.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == state })
	require.GreaterOrEqual(t, i, 0)
	require.Equal(t, set.Spec.VolumeClaimTemplates[0].Name, main.VolumeMounts[i].Name, "the state survives the pod")
}
