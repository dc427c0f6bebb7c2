package deploy

import (
	"maps"
	"strings"
	"testing"
)

func TestManifestsHold(t *testing.T) {
	files, tr := readTree(t), readTruth(t)
	for folder, workloads := range map[string]int{"base": 4, "overlays/example": 4} {
		docs, err := files.build(folder)
		if err != nil {
			t.Fatalf("%s: %v", folder, err)
		}
		o, err := decode(docs)
		if err != nil {
			t.Fatalf("%s: %v", folder, err)
		}
		if n := len(o.workloads()); n != workloads {
			t.Errorf("%s has %d workloads, want %d", folder, n, workloads)
		}
		for _, wrong := range check(o, tr) {
			t.Errorf("%s: %s", folder, wrong)
		}
	}
}

// A slip in any file is found. Each row makes one in a copy of the manifests.
func TestSlipsAreFound(t *testing.T) {
	files, tr := readTree(t), readTruth(t)
	const gw, sw, aw, mig = "base/gateway.yaml", "base/scan-worker.yaml", "base/analytics-worker.yaml", "base/migrate.yaml"
	const base, example = "base/kustomization.yaml", "overlays/example/kustomization.yaml"
	const ingress, network = "overlays/example/ingress.yaml", "components/network-policy/network-policy.yaml"
	for _, tt := range []struct {
		name, file, old, new string
		want                 string // in what is found
	}{
		{"a flag", gw, "--api-key-file=", "--api-keyfile=", "--api-keyfile is no flag of /gateway"},
		{"another role's flag", sw, "--addr=:8081", "--public-url=x", "--public-url is no flag of /scan-worker"},
		{"a variable", aw, "name: HUOMA_CLICKHOUSE_URL", "name: HUOMA_CLICKHOUSE_ADDR", "HUOMA_CLICKHOUSE_ADDR is no variable of /analytics-worker"},
		{"a variable of a ConfigMap", base, "HUOMA_LOG_FORMAT=", "HUOMA_LOGFORMAT=", "HUOMA_LOGFORMAT of the ConfigMap"},
		{"the wrong ConfigMap", mig, "name: huoma-warehouse", "name: huoma", "HUOMA_NATS_URL of the ConfigMap"},
		{"a ConfigMap that is not there", aw, "name: huoma-warehouse", "name: huoma-warehous", "no ConfigMap that is there"},
		{"a program", gw, "[/gateway]", "[/gatewy]", `"/gatewy" is no program of the image`},
		{"a subcommand", mig, "args: [migrate]", "args: [migrat]", `"/huoma migrat" is no program`},
		{"a port", gw, "containerPort: 8080", "containerPort: 8081", "the container's port is not that of --addr"},
		{"an address on loopback", sw, "--addr=:8081", "--addr=127.0.0.1:8081", "bind every address of the pod"},
		{"a probe's path", gw, "path: /readyz", "path: /ready", "asks for /ready, which /gateway does not answer"},
		{"a probe that asks too much", sw, "livenessProbe:\n            httpGet:\n              path: /healthz", "livenessProbe:\n            httpGet:\n              path: /readyz", "want /healthz"},
		{"a probe's port", aw, "port: health\n            periodSeconds: 1\n", "port: http\n            periodSeconds: 1\n", "startup probe asks at the port http"},
		{"the path of metrics", sw, "prometheus.io/path: /metrics", "prometheus.io/path: /metric", "not told to scrape"},
		{"the port of metrics", aw, `prometheus.io/port: "8082"`, `prometheus.io/port: "8081"`, "not told to scrape"},
		{"a secret's name", gw, "secretName: huoma-keyring", "secretName: huoma-keys", "key keyring.json of the secret huoma-keys"},
		{"a secret's key", mig, "key: url", "key: uri", "key uri of the secret huoma-clickhouse"},
		{"a secret in the manifest", mig, "valueFrom:\n                secretKeyRef:\n                  name: huoma-clickhouse\n                  key: url", "value: clickhouse://huoma:word@clickhouse/huoma", "its value is in the manifest"},
		{"a password in a setting", example, "nats://nats-0.nats", "nats://huoma:word@nats-0.nats", "holds a secret"},
		{"a Secret among the files", "overlays/example/namespace.yaml", "kind: Namespace", "kind: Secret", "no kind that is used here"},
		{"where a file is mounted", gw, "mountPath: /etc/huoma/keyring", "mountPath: /etc/huoma/keys", "--keyring names /etc/huoma/keyring/keyring.json, which is not mounted"},
		{"a file's name", sw, "path: keyring.json", "path: keys.json", "nothing names the file /etc/huoma/keyring/keys.json"},
		{"a volume's name", gw, "- name: keyring\n              mountPath", "- name: keyrings\n              mountPath", "mounts the volume keyrings, which is not there"},
		{"a secret for all to read", sw, "defaultMode: 0400", "defaultMode: 0444", "needs defaultMode 0400"},
		{"no group to read it", sw, "        fsGroup: 65532\n", "", "without an fsGroup"},
		{"the file of credentials", "components/nats-creds/gateway.yaml", "value: /etc/huoma/nats/nats.creds", "value: /etc/nats/nats.creds", "HUOMA_NATS_CREDS names /etc/nats/nats.creds"},
		{"a file system to write to", aw, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "root file system can be written to"},
		{"privileges", mig, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "restricted pod security standard"},
		{"capabilities", gw, "drop: [ALL]", "drop: [NET_RAW]", "not every capability is dropped"},
		{"root", sw, "runAsUser: 65532", "runAsUser: 0", "restricted pod security standard"},
		{"another user than the image's", sw, "runAsUser: 65532", "runAsUser: 1000", "are not the image's"},
		{"no seccomp profile", aw, "type: RuntimeDefault", "type: Unconfined", "restricted pod security standard"},
		{"a token in the pod", gw, "      automountServiceAccountToken: false\n", "", "mounts a token"},
		{"a token of the account", gw, "\nautomountServiceAccountToken: false", "", "service account huoma-gateway mounts its token"},
		{"an account", mig, "serviceAccountName: huoma-migrate", "serviceAccountName: huoma-migration", `service account "huoma-migration" is not there`},
		{"service links", gw, "enableServiceLinks: false", "enableServiceLinks: true", "service links"},
		{"a short grace period", gw, "terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds is 30s"},
		{"no pause before the end", gw, "seconds: 10", "seconds: 1", "preStop sleeps 1s"},
		{"no request of memory", aw, "memory: 256Mi\n            limits", "nvidia.com/gpu: 1\n            limits", "memory needs a request"},
		{"a limit below the request", sw, "memory: 1Gi", "memory: 256Mi", "memory needs a request and a limit"},
		{"GOMEMLIMIT over the limit", sw, "value: 920MiB", "value: 1200MiB", "GOMEMLIMIT is not"},
		{"a selector", gw, "matchLabels:\n      app.kubernetes.io/name: huoma-gateway\n  template", "matchLabels:\n      app.kubernetes.io/name: huoma-gatewy\n  template", "its selector does not select its pods"},
		{"a service's selector", gw, "selector:\n    app.kubernetes.io/name: huoma-gateway", "selector:\n    app.kubernetes.io/name: gateway", "service huoma-gateway: it selects the pods of 0"},
		{"a target port", gw, "targetPort: http", "targetPort: web", "target port web is none"},
		{"a budget's selector", sw, "unhealthyPodEvictionPolicy: AlwaysAllow\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: huoma-scan-worker", "selector:\n    matchLabels:\n      app.kubernetes.io/name: huoma-scan", "0 PodDisruptionBudgets select its pods"},
		{"a budget that gives all", aw, "maxUnavailable: 1", "maxUnavailable: 2", "lets nothing or everything be evicted"},
		{"a spread of other pods", aw, "labelSelector:\n            matchLabels:\n              app.kubernetes.io/name: huoma-analytics-worker", "labelSelector:\n            matchLabels:\n              app.kubernetes.io/name: huoma-analytics", "does not select its pods"},
		{"an update that takes pods away", gw, "maxUnavailable: 0", "maxUnavailable: 1", "an update takes a pod away"},
		{"one pod", sw, "replicas: 2", "replicas: 1", "one pod alone"},
		{"what is scaled", gw, "kind: Deployment\n    name: huoma-gateway", "kind: Deployment\n    name: gateway", "what it scales is no Deployment"},
		{"replicas beside a scaler", gw, "minReadySeconds: 5", "replicas: 3", "undo the scaling"},
		{"a Job that stays", mig, "ttlSecondsAfterFinished: 3600", "suspend: false", "goes away"},
		{"an unknown field", gw, "minReadySeconds: 5", "minReadySecond: 5", "minReadySecond"},
		{"an unknown field of a kustomization", example, "images:", "image:", "image"},
		{"a moving tag", example, "newTag: 1.0.0", "newTag: latest", "one that moves"},
		{"an image of its own", sw, "image: huoma", "image: scan-worker", "2 images, want one"},
		{"no namespace", example, "\nnamespace: huoma\n", "\n", `huoma-gateway is in the namespace ""`},
		{"the ingress's host", ingress, "host: qr.example.com", "host: qr.example.org", "is not that of HUOMA_PUBLIC_URL"},
		{"the ingress's service", ingress, "name: huoma-gateway\n                port:", "name: gateway\n                port:", "leads to no service"},
		{"a path that is not passed on", ingress, "- path: /r\n", "- path: /renew\n", "the route /r/{signed} of schemas/openapi.yaml"},
		{"metrics for the world", ingress, "- path: /v1\n", "- path: /\n", "the route /metrics of schemas/openapi.yaml"},
		{"a policy without NATS", network, "- port: 4222", "- port: 4223", "network policies let it reach"},
		{"a policy with the wrong port's name", network, "- port: health", "- port: http", "network policies let in at"},
		{"a policy for no pod", network, "app.kubernetes.io/name: huoma-gateway", "app.kubernetes.io/name: gateway", "huoma-gateway is for no pod"},
		{"another port of NATS", example, "nats-0.nats.nats.svc:4222", "nats-0.nats.nats.svc:4333", "network policies let it reach"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(files[tt.file], tt.old) {
				t.Fatalf("%s does not say %q", tt.file, tt.old)
			}
			broken := maps.Clone(files)
			broken[tt.file] = strings.Replace(files[tt.file], tt.old, tt.new, 1)
			found := strings.Join(findings(broken, tr), "\n")
			if !strings.Contains(found, tt.want) {
				t.Errorf("found %q, want %q among it", found, tt.want)
			}
		})
	}
}

// findings is all that is wrong with the example, whatever finds it: kustomize, the types or the rules.
func findings(files tree, tr truth) []string {
	docs, err := files.build("overlays/example")
	if err != nil {
		return []string{err.Error()}
	}
	o, err := decode(docs)
	if err != nil {
		return []string{err.Error()}
	}
	return check(o, tr)
}
