package deploy

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/role"
)

// slack is what a grace period has left when a program has taken as long as it may.
const slack = 5 * time.Second

// leastPause is how long a pod that gets requests goes on serving, for endpoints and proxies to hear of its end.
const leastPause = 5 * time.Second

// fileFlags are the flags and variables that name a file.
var fileFlags = []string{"--keyring", "--api-key-file", "--nats-creds", "--nats-nkey", "HUOMA_KEYRING", "HUOMA_API_KEY_FILE", "HUOMA_NATS_CREDS", "HUOMA_NATS_NKEY"}

// secretEnvs are the variables whose values are secrets.
var secretEnvs = []string{"HUOMA_API_KEY", "HUOMA_CLICKHOUSE_URL"}

// workload is a Deployment or a Job, as far as its pods go.
type workload struct {
	name     string
	template corev1.PodTemplateSpec
	replicas int32 // at least
	job      bool
}

func (o objects) workloads() (list []workload) {
	for _, name := range slices.Sorted(maps.Keys(o.deployments)) {
		d := o.deployments[name]
		w := workload{name: name, template: d.Spec.Template, replicas: 1}
		if d.Spec.Replicas != nil {
			w.replicas = *d.Spec.Replicas
		}
		for _, s := range o.scalers {
			if s.Spec.ScaleTargetRef.Name == name && s.Spec.MinReplicas != nil {
				w.replicas = *s.Spec.MinReplicas
			}
		}
		list = append(list, w)
	}
	for _, name := range slices.Sorted(maps.Keys(o.jobs)) {
		list = append(list, workload{name: name, template: o.jobs[name].Spec.Template, replicas: 1, job: true})
	}
	return list
}

// command is the program a container runs, as truth names it.
func command(c corev1.Container) string {
	name := strings.Join(c.Command, " ")
	if len(c.Args) > 0 && !strings.HasPrefix(c.Args[0], "-") {
		name += " " + c.Args[0]
	}
	return name
}

// settings are what a container's program is told: flags, and variables that are written out or in a ConfigMap.
func (o objects) settings(c corev1.Container) map[string]string {
	told := map[string]string{}
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef != nil && o.configMaps[from.ConfigMapRef.Name] != nil {
			maps.Copy(told, o.configMaps[from.ConfigMapRef.Name].Data)
		}
	}
	for _, e := range c.Env {
		told[e.Name] = e.Value
	}
	for _, a := range c.Args {
		if name, value, ok := strings.Cut(a, "="); ok {
			told[name] = value
		}
	}
	return told
}

// checker collects what is wrong with a build.
type checker struct {
	o     objects
	truth truth
	found []string
}

func (c *checker) failf(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// check says all that is wrong with what was built.
func check(o objects, tr truth) []string {
	c := &checker{o: o, truth: tr}
	for _, w := range o.workloads() {
		c.pod(w)
		for _, container := range slices.Concat(w.template.Spec.InitContainers, w.template.Spec.Containers) {
			c.security(w, container)
			c.program(w, container)
			c.network(w, container)
			c.resources(w, container)
		}
	}
	c.deployments()
	c.references()
	c.ingress()
	c.policies()
	return c.found
}

// pod checks what all containers of a pod share.
func (c *checker) pod(w workload) {
	spec := w.template.Spec
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		c.failf("pod security: %v", err)
		return
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(restricted, &w.template.ObjectMeta, &spec) {
		if !result.Allowed {
			c.failf("%s: not allowed under the restricted pod security standard: %s (%s)", w.name, result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		c.failf("%s: the pod mounts a token of its service account", w.name)
	}
	account := c.o.serviceAccounts[spec.ServiceAccountName]
	if account == nil {
		c.failf("%s: service account %q is not there", w.name, spec.ServiceAccountName)
	} else if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
		c.failf("%s: service account %s mounts its token", w.name, account.Name)
	}
	if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
		c.failf("%s: service links put variables HUOMA_… into the pod", w.name)
	}
	if len(spec.Containers) != 1 {
		c.failf("%s: %d containers, want 1", w.name, len(spec.Containers))
	}
	s := spec.SecurityContext
	if s == nil || s.RunAsUser == nil || strconv.FormatInt(*s.RunAsUser, 10) != c.truth.user || s.RunAsGroup == nil || *s.RunAsGroup != *s.RunAsUser {
		c.failf("%s: runAsUser and runAsGroup are not the image's, %s", w.name, c.truth.user)
	}
	c.volumes(w)
	if w.job {
		return
	}
	stops := role.StopWithin
	if w.name == "huoma-gateway" {
		stops = gateway.Limits{}.StopsWithin()
	}
	pause := pauseOf(spec.Containers[0])
	grace := time.Duration(0)
	if spec.TerminationGracePeriodSeconds != nil {
		grace = time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second
	}
	if grace < pause+stops+slack {
		c.failf("%s: terminationGracePeriodSeconds is %s; preStop takes %s and draining up to %s", w.name, grace, pause, stops)
	}
	if len(spec.TopologySpreadConstraints) == 0 {
		c.failf("%s: its pods are not spread", w.name)
	}
	for _, spread := range spec.TopologySpreadConstraints {
		if !selects(spread.LabelSelector, w.template.Labels) {
			c.failf("%s: the spread over %s does not select its pods", w.name, spread.TopologyKey)
		}
	}
}

func pauseOf(container corev1.Container) time.Duration {
	if l := container.Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
		return time.Duration(l.PreStop.Sleep.Seconds) * time.Second
	}
	return 0
}

// spool checks that what can be written to is a gateway's spool, with room for as much as it may hold and a piece kept aside.
func (c *checker) spool(w workload, m corev1.VolumeMount, v *corev1.EmptyDirVolumeSource) {
	set := c.o.settings(w.template.Spec.Containers[0])
	most, err := strconv.ParseInt(set["--spool-bytes"], 10, 64)
	switch {
	case !strings.HasPrefix(set["--spool-dir"], m.MountPath+"/"):
		c.failf("%s: the volume %s is no spool's", w.name, m.Name)
	case m.ReadOnly:
		c.failf("%s: the volume %s cannot be written to", w.name, m.Name)
	case err != nil || v.SizeLimit == nil || v.SizeLimit.Value() < most+most/8:
		c.failf("%s: the volume %s needs a sizeLimit an eighth above --spool-bytes=%s, else its pod is evicted", w.name, m.Name, set["--spool-bytes"])
	case v.Medium != "":
		c.failf("%s: the volume %s is memory, not a disk", w.name, m.Name)
	}
}

// volumes checks that what is mounted is there, is a secret that is written about, is read by the program, and the reverse.
func (c *checker) volumes(w workload) {
	spec, container := w.template.Spec, w.template.Spec.Containers[0]
	files := map[string]bool{} // mounted
	mounted := map[string]bool{}
	for _, m := range container.VolumeMounts {
		i := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if i < 0 {
			c.failf("%s: mounts the volume %s, which is not there", w.name, m.Name)
			continue
		}
		mounted[m.Name] = true
		if empty := spec.Volumes[i].EmptyDir; empty != nil {
			c.spool(w, m, empty)
			continue
		}
		if !m.ReadOnly {
			c.failf("%s: the volume %s can be written to", w.name, m.Name)
		}
		secret := spec.Volumes[i].Secret
		if secret == nil {
			c.failf("%s: the volume %s is no secret", w.name, m.Name)
			continue
		}
		if secret.DefaultMode == nil || *secret.DefaultMode != 0o400 {
			c.failf("%s: the volume %s needs defaultMode 0400", w.name, m.Name)
		}
		if spec.SecurityContext == nil || spec.SecurityContext.FSGroup == nil {
			c.failf("%s: without an fsGroup only root can read the volume %s", w.name, m.Name)
		}
		if len(secret.Items) == 0 {
			c.failf("%s: the volume %s names no keys", w.name, m.Name)
		}
		for _, item := range secret.Items {
			c.secret(w, secret.SecretName, item.Key)
			files[path.Join(m.MountPath, item.Path)] = true
		}
	}
	for _, v := range spec.Volumes {
		if !mounted[v.Name] {
			c.failf("%s: the volume %s is mounted nowhere", w.name, v.Name)
		}
	}
	for name, value := range c.o.settings(container) {
		if slices.Contains(fileFlags, name) {
			if !files[value] {
				c.failf("%s: %s names %s, which is not mounted", w.name, name, value)
			}
			delete(files, value)
		}
	}
	for file := range files {
		c.failf("%s: nothing names the file %s", w.name, file)
	}
}

func (c *checker) secret(w workload, name, key string) {
	if !c.truth.secrets[name+" "+key] {
		c.failf("%s: README.md does not say how to make the key %s of the secret %s", w.name, key, name)
	}
}

// security says again, word by word, what the pod security standard leaves open or might allow one day.
func (c *checker) security(w workload, container corev1.Container) {
	s := container.SecurityContext
	switch {
	case s == nil:
		c.failf("%s: the container has no securityContext", w.name)
		return
	case s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem:
		c.failf("%s: the root file system can be written to", w.name)
	case s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation:
		c.failf("%s: privileges can be escalated", w.name)
	case s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0:
		c.failf("%s: not every capability is dropped", w.name)
	case s.RunAsUser != nil || s.RunAsNonRoot != nil || s.SeccompProfile != nil || s.Privileged != nil:
		c.failf("%s: the container says otherwise than its pod", w.name)
	}
	p := w.template.Spec.SecurityContext
	if p == nil || p.RunAsNonRoot == nil || !*p.RunAsNonRoot || p.SeccompProfile == nil || p.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		c.failf("%s: the pod may run as root, or without RuntimeDefault of seccomp", w.name)
	}
}

// program checks that what is run is there and understands what it is told.
func (c *checker) program(w workload, container corev1.Container) {
	p, ok := c.truth.programs[command(container)]
	if !ok {
		c.failf("%s: %q is no program of the image", w.name, command(container))
		return
	}
	for _, a := range container.Args {
		name, _, _ := strings.Cut(a, "=")
		if strings.HasPrefix(a, "-") && !p.flags[name] {
			c.failf("%s: %s is no flag of %s", w.name, name, command(container))
		}
	}
	for _, e := range container.Env {
		if e.Name != "GOMEMLIMIT" && !p.envs[e.Name] {
			c.failf("%s: %s is no variable of %s", w.name, e.Name, command(container))
		}
		if slices.Contains(secretEnvs, e.Name) && e.Value != "" {
			c.failf("%s: %s is a secret and its value is in the manifest", w.name, e.Name)
		}
		if e.ValueFrom != nil {
			if e.ValueFrom.SecretKeyRef == nil {
				c.failf("%s: %s comes from something else than a secret", w.name, e.Name)
				continue
			}
			c.secret(w, e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Key)
		}
	}
	for _, from := range container.EnvFrom {
		if from.ConfigMapRef == nil || c.o.configMaps[from.ConfigMapRef.Name] == nil {
			c.failf("%s: a source of variables is no ConfigMap that is there", w.name)
			continue
		}
		for name, value := range c.o.configMaps[from.ConfigMapRef.Name].Data {
			if !p.envs[name] {
				c.failf("%s: %s of the ConfigMap %s is no variable of %s", w.name, name, from.ConfigMapRef.Name, command(container))
			}
			if u, err := url.Parse(value); slices.Contains(secretEnvs, name) || err == nil && u.User != nil {
				c.failf("%s: %s of the ConfigMap %s holds a secret", w.name, name, from.ConfigMapRef.Name)
			}
		}
	}
}

// network checks ports, probes and what Prometheus is told.
func (c *checker) network(w workload, container corev1.Container) {
	if w.job {
		if len(container.Ports) > 0 || container.LivenessProbe != nil {
			c.failf("%s: a Job has no ports and probes", w.name)
		}
		return
	}
	host, port, err := net.SplitHostPort(c.o.settings(container)["--addr"])
	if err != nil || host != "" {
		c.failf("%s: --addr has to bind every address of the pod, such as :8080", w.name)
	}
	if len(container.Ports) != 1 || strconv.Itoa(int(container.Ports[0].ContainerPort)) != port {
		c.failf("%s: the container's port is not that of --addr, %s", w.name, port)
		return
	}
	name := container.Ports[0].Name
	for _, probe := range []struct {
		name, path string
		*corev1.Probe
	}{{"startup", "/healthz", container.StartupProbe}, {"liveness", "/healthz", container.LivenessProbe}, {"readiness", "/readyz", container.ReadinessProbe}} {
		switch {
		case probe.Probe == nil || probe.HTTPGet == nil:
			c.failf("%s: there is no %s probe", w.name, probe.name)
		case probe.HTTPGet.Port.String() != name:
			c.failf("%s: the %s probe asks at the port %s, want %s", w.name, probe.name, probe.HTTPGet.Port.String(), name)
		case !slices.Contains(c.truth.served[command(container)], probe.HTTPGet.Path):
			c.failf("%s: the %s probe asks for %s, which %s does not answer", w.name, probe.name, probe.HTTPGet.Path, command(container))
		case probe.HTTPGet.Path != probe.path:
			c.failf("%s: the %s probe asks for %s, want %s", w.name, probe.name, probe.HTTPGet.Path, probe.path)
		}
	}
	notes := w.template.Annotations
	if notes["prometheus.io/scrape"] != "true" || notes["prometheus.io/port"] != port || notes["prometheus.io/path"] != "/metrics" ||
		!slices.Contains(c.truth.served[command(container)], notes["prometheus.io/path"]) {
		c.failf("%s: Prometheus is not told to scrape /metrics at port %s", w.name, port)
	}
	if w.name == "huoma-gateway" && pauseOf(container) < leastPause {
		c.failf("%s: preStop sleeps %s; requests still come for about %s", w.name, pauseOf(container), leastPause)
	}
}

func (c *checker) resources(w workload, container corev1.Container) {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		least, hasLeast := container.Resources.Requests[name]
		most, hasMost := container.Resources.Limits[name]
		if !hasLeast || !hasMost || least.IsZero() || least.Cmp(most) > 0 {
			c.failf("%s: %s needs a request and a limit that is no less", w.name, name)
		}
	}
	if w.job {
		return
	}
	// Go's notation is Kubernetes' with a B.
	soft, err := resource.ParseQuantity(strings.TrimSuffix(c.o.settings(container)["GOMEMLIMIT"], "B"))
	hard := container.Resources.Limits.Memory()
	if share := soft.AsApproximateFloat64() / hard.AsApproximateFloat64(); err != nil || share < 0.8 || share > 0.95 {
		c.failf("%s: GOMEMLIMIT is not 80 to 95 %% of the memory limit", w.name)
	}
}

// selects reports whether a selector that is there and not empty selects labels.
func selects(s *metav1.LabelSelector, of map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && !selector.Empty() && selector.Matches(labels.Set(of))
}
