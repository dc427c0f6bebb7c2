package deploy

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// selected are the workloads whose pods a selector selects.
func (o objects) selected(s *metav1.LabelSelector) (list []workload) {
	for _, w := range o.workloads() {
		if selects(s, w.template.Labels) {
			list = append(list, w)
		}
	}
	return list
}

// portOf is the number of a port that a pod's container has, by name or number, or 0.
func portOf(w workload, port intstr.IntOrString) int32 {
	for _, p := range w.template.Spec.Containers[0].Ports {
		if port.StrVal == p.Name || port.IntVal == p.ContainerPort {
			return p.ContainerPort
		}
	}
	return 0
}

// deployments checks how many pods there are, now, while they are replaced and while nodes are drained.
func (c *checker) deployments() {
	names := map[string]bool{}
	for _, w := range c.o.workloads() {
		names[w.name] = true
		if w.job {
			job := c.o.jobs[w.name].Spec
			if w.template.Spec.RestartPolicy != corev1.RestartPolicyNever || job.TTLSecondsAfterFinished == nil || job.BackoffLimit == nil || job.ActiveDeadlineSeconds == nil {
				c.failf("%s: a Job of ours ends by itself, is tried again so many times and goes away", w.name)
			}
			continue
		}
		d := c.o.deployments[w.name].Spec
		if !selects(d.Selector, w.template.Labels) {
			c.failf("%s: its selector does not select its pods", w.name)
		}
		if n := len(c.o.selected(d.Selector)); n != 1 {
			c.failf("%s: its selector selects the pods of %d workloads", w.name, n)
		}
		r := d.Strategy.RollingUpdate
		if r == nil || r.MaxUnavailable == nil || r.MaxUnavailable.String() != "0" || r.MaxSurge == nil || r.MaxSurge.String() == "0" {
			c.failf("%s: an update takes a pod away before there is another", w.name)
		}
		if w.replicas < 2 {
			c.failf("%s: one pod alone is none while its node is drained", w.name)
		}
		budgets := 0
		for _, b := range c.o.budgets {
			if selects(b.Spec.Selector, w.template.Labels) {
				budgets++
				if most := b.Spec.MaxUnavailable; most == nil || most.Type != intstr.Int || most.IntVal < 1 || most.IntVal >= w.replicas {
					c.failf("%s: its PodDisruptionBudget lets nothing or everything be evicted", w.name)
				}
			}
		}
		if budgets != 1 {
			c.failf("%s: %d PodDisruptionBudgets select its pods", w.name, budgets)
		}
	}
	for _, s := range c.o.scalers {
		ref := s.Spec.ScaleTargetRef
		d := c.o.deployments[ref.Name]
		switch {
		case d == nil || ref.Kind != "Deployment" || ref.APIVersion != "apps/v1":
			c.failf("%s: what it scales is no Deployment that is there", s.Name)
		case d.Spec.Replicas != nil:
			c.failf("%s: the Deployment has replicas too: each apply would undo the scaling", s.Name)
		}
	}
}

// references checks Services, what nobody uses, namespaces and images.
func (c *checker) references() {
	for _, s := range c.o.services {
		pods := c.o.selected(&metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		if len(pods) != 1 {
			c.failf("service %s: it selects the pods of %d workloads", s.Name, len(pods))
			continue
		}
		for _, p := range s.Spec.Ports {
			if portOf(pods[0], p.TargetPort) == 0 {
				c.failf("service %s: its target port %s is none of the pod", s.Name, p.TargetPort.String())
			}
		}
	}
	used := map[string]bool{}
	images := map[string]bool{}
	for _, w := range c.o.workloads() {
		used["account "+w.template.Spec.ServiceAccountName] = true
		for _, container := range w.template.Spec.Containers {
			images[container.Image] = true
			for _, from := range container.EnvFrom {
				if from.ConfigMapRef != nil {
					used["settings "+from.ConfigMapRef.Name] = true
				}
			}
		}
	}
	for name := range c.o.configMaps {
		if !used["settings "+name] {
			c.failf("nothing uses the ConfigMap %s", name)
		}
	}
	for name := range c.o.serviceAccounts {
		if !used["account "+name] {
			c.failf("nothing uses the service account %s", name)
		}
	}
	if len(images) != 1 {
		c.failf("%d images, want one for all", len(images))
	}
	if len(c.o.namespaces) == 0 {
		return // a base: who builds on it says where and which
	}
	for image := range images {
		if _, tag, ok := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":"); !ok || tag == "latest" {
			c.failf("the image %s has no tag, or one that moves", image)
		}
	}
	for _, m := range c.o.meta() {
		if c.o.namespaces[m.GetNamespace()] == nil {
			c.failf("%s is in the namespace %q, which is not there", m.GetName(), m.GetNamespace())
		}
	}
}

// inside are the routes that are for the cluster alone.
var inside = []string{"/healthz", "/readyz", "/metrics"}

// ingress checks that the world reaches what it should and nothing else.
func (c *checker) ingress() {
	for _, in := range c.o.ingresses {
		var paths []string
		for _, rule := range in.Spec.Rules {
			public := ""
			for _, m := range c.o.configMaps {
				if u, err := url.Parse(m.Data["HUOMA_PUBLIC_URL"]); err == nil && u.Host != "" {
					public = u.Host
				}
			}
			if rule.Host != public {
				c.failf("the host %s of the ingress is not that of HUOMA_PUBLIC_URL, %s", rule.Host, public)
			}
			if !slices.ContainsFunc(in.Spec.TLS, func(t networkingv1.IngressTLS) bool { return slices.Contains(t.Hosts, rule.Host) }) {
				c.failf("the host %s of the ingress is without TLS", rule.Host)
			}
			for _, p := range rule.HTTP.Paths {
				paths = append(paths, p.Path)
				s := c.o.services[p.Backend.Service.Name]
				if s == nil || !slices.ContainsFunc(s.Spec.Ports, func(port corev1.ServicePort) bool { return port.Name == p.Backend.Service.Port.Name }) {
					c.failf("the path %s of the ingress leads to no service and port that are there", p.Path)
				}
			}
		}
		reaches := func(p, route string) bool {
			return route == p || strings.HasPrefix(route, strings.TrimSuffix(p, "/")+"/")
		}
		for _, p := range paths {
			if !slices.ContainsFunc(c.truth.routes, func(route string) bool { return reaches(p, route) }) {
				c.failf("the path %s of the ingress leads to no route of schemas/openapi.yaml", p)
			}
		}
		for _, route := range c.truth.routes {
			reached := slices.ContainsFunc(paths, func(p string) bool { return reaches(p, route) })
			if reached == slices.Contains(inside, route) {
				c.failf("the route %s of schemas/openapi.yaml: reached through the ingress: %v; add its path to the ingress, or the route to the ones inside", route, reached)
			}
		}
	}
}

// policies checks that whatever is needed is let through. Without any, everything is.
func (c *checker) policies() {
	if len(c.o.policies) == 0 {
		return
	}
	for _, p := range c.o.policies {
		if len(c.o.selected(&p.Spec.PodSelector)) == 0 {
			c.failf("the network policy %s is for no pod", p.Name)
		}
	}
	for _, w := range c.o.workloads() {
		in, out := c.allowed(w)
		told := c.o.settings(w.template.Spec.Containers[0])
		want := []string{"UDP 53", "TCP 53"}
		for u := range strings.SplitSeq(told["HUOMA_NATS_URL"], ",") {
			if server, err := url.Parse(u); err == nil && u != "" {
				want = append(want, "TCP "+server.Port())
			}
		}
		if _, ok := told["HUOMA_CLICKHOUSE_URL"]; ok {
			want = append(want, "TCP 9000", "TCP 9440") // the address is a secret; these are the ports of the native protocol
		}
		slices.Sort(want)
		slices.Sort(out)
		if want, out = slices.Compact(want), slices.Compact(out); !slices.Equal(out, want) {
			c.failf("%s: network policies let it reach %v, want %v", w.name, out, want)
		}
		want = nil
		for _, p := range w.template.Spec.Containers[0].Ports {
			want = append(want, "TCP "+strconv.Itoa(int(p.ContainerPort)))
		}
		if !slices.Equal(in, want) {
			c.failf("%s: network policies let in at %v, want %v", w.name, in, want)
		}
	}
}

// allowed are the ports that a pod may be reached at, and those it may reach.
func (c *checker) allowed(w workload) (in, out []string) {
	name := func(p networkingv1.NetworkPolicyPort, number int32) string {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		return string(protocol) + " " + strconv.Itoa(int(number))
	}
	for _, p := range c.o.policies {
		if !selects(&p.Spec.PodSelector, w.template.Labels) {
			continue
		}
		for _, rule := range p.Spec.Ingress {
			for _, port := range rule.Ports {
				in = append(in, name(port, portOf(w, *port.Port)))
			}
		}
		for _, rule := range p.Spec.Egress {
			for _, port := range rule.Ports {
				out = append(out, name(port, port.Port.IntVal))
			}
		}
	}
	return in, out
}
