"""The systemd unit, the container, compose and Kubernetes files, checked with their own tools."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fping_exporter import __version__

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "fping-exporter.service"
MOST_EXPOSURE = 2.0
AGENT = "fping-exporter-agent"
"""The DaemonSet of agents, and what it has its configuration and its password from."""
WITH_PLACEHOLDERS = (
    "alertmanager/alertmanager.yml",
    "alertmanager/templates/urls.tmpl",
    "prometheus/fping-exporter.rules.yml",
)


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.e2e
def test_the_unit_is_confined() -> None:
    told = run("systemd-analyze", "security", "--offline=true", UNIT)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert found
    assert float(found[1]) <= MOST_EXPOSURE


@pytest.mark.e2e
def test_the_unit_starts_as_a_user_of_whom_nothing_is_known() -> None:
    # A dynamic user has no home, and no entry in the user database where libnss-systemd is missing.
    settings = re.findall(r"(?m)^Environment=(\S+)", UNIT.read_text())
    start = ("env", "-i", *settings, sys.executable, "-c", "import fping_exporter.cli.commands")
    run("unshare", "--user", "--map-user=65009", *start)


@pytest.mark.e2e
def test_the_unit_is_right(tmp_path: Path) -> None:
    # systemd-analyze verify requires the program, which is not installed here.
    text = UNIT.read_text()
    text = re.sub(r"(?m)^(Exec\w+)=/opt\S+", r"\1=/bin/true", text)
    unit = tmp_path / "fping-exporter.service"
    unit.write_text(text)
    assert run("systemd-analyze", "verify", unit) == ""
    drop_ins = tmp_path / "fping-exporter.service.d"
    drop_ins.mkdir()
    for name in ("namespaces.conf", "agent.conf", "central.conf"):
        drop_in = (DEPLOY / "systemd" / name).read_text()
        (drop_ins / name).write_text(re.sub(r"(?m)^(Exec\w+)=/opt\S+", r"\1=/bin/true", drop_in))
        assert run("systemd-analyze", "verify", unit) == ""


def test_the_command_reads_what_the_service_has_stored(tmp_path: Path) -> None:
    # As root, without systemd-run: a dynamic user may not read the state of another one.
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\npwd; env | grep -E "^(OS|STATE)_"; printf "%s\\n" "$@"\n')
    program.chmod(0o755)
    command = (DEPLOY / "systemd" / "fping-exporter").read_text()
    command = command.replace("/opt/fping-exporter/bin/fping-exporter", str(program))
    command = command.replace("/etc/fping-exporter", str(tmp_path))
    start = ("env", "OS_CLOUD=another", "sh", "-c", command, "fping-exporter", "explain", "web 1", "--cached")
    lines = run(*start).splitlines()
    assert lines[0] == str(tmp_path)
    assert set(lines[1:-3]) == {
        f"OS_CLIENT_CONFIG_FILE={tmp_path}/clouds.yaml",
        "STATE_DIRECTORY=/var/lib/fping-exporter",
    }
    assert lines[-3:] == ["explain", "web 1", "--cached"]


def manifests() -> list[Any]:
    """Return the Kubernetes objects of deploy/kubernetes, as they are written there."""
    paths = sorted((DEPLOY / "kubernetes").glob("*.yml"))
    documents = [each for path in paths for each in yaml.safe_load_all(path.read_text())]
    return [each for each in documents if each["kind"] != "Kustomization"]


def test_the_kubernetes_manifests_are_valid(tmp_path: Path) -> None:
    """The PodMonitor is not of Kubernetes itself, and no maintained package has its schema."""
    path = tmp_path / "manifests.yml"
    path.write_text(yaml.safe_dump_all(each for each in manifests() if each["kind"] != "PodMonitor"))
    run(Path(sys.executable).with_name("kubernetes-validate"), "--strict", path)


@pytest.mark.e2e
def test_kustomize_makes_of_them_what_the_api_server_takes(tmp_path: Path) -> None:
    """The head of kustomization.yml, with every resource, and with a private CA."""
    root = tmp_path / "kubernetes"
    shutil.copytree(DEPLOY / "kubernetes", root)
    shutil.copy(DEPLOY / "fping-exporter.yml", root)
    (root / "clouds.yaml").write_text("clouds: {}\n")
    (root / "ca.pem").write_text("a certificate\n")
    kustomization = root / "kustomization.yml"
    kustomization.write_text(re.sub(r"(?m)^(\s+)# - (\S+)", r"\1- \2", kustomization.read_text()))
    built = list(yaml.safe_load_all(run("kubectl", "kustomize", root)))
    agents = [each for each in built if each["metadata"]["name"] == AGENT]
    others = [each for each in built if each not in agents]
    assert [each["kind"] for each in agents] == ["DaemonSet"]
    kinds = sorted(each["kind"] for each in others)
    assert kinds == ["ConfigMap", "DaemonSet", "Deployment", "Namespace", "PodMonitor", "Secret", "Service"]
    by_kind = {each["kind"]: each for each in others}
    assert set(by_kind["Secret"]["data"]) == {"clouds.yaml", "ca.pem"}
    for kind in ("Deployment", "DaemonSet"):
        spec = by_kind[kind]["spec"]["template"]["spec"]
        assert spec["containers"][0]["image"] == f"registry.example.com/fping-exporter:{__version__}"
        mounted = {name for each in spec["volumes"] for name in volume_names(each)}
        assert {by_kind["ConfigMap"]["metadata"]["name"], by_kind["Secret"]["metadata"]["name"]} <= mounted
    valid = tmp_path / "built.yml"
    valid.write_text(yaml.safe_dump_all(each for each in built if each["kind"] != "PodMonitor"))
    run(Path(sys.executable).with_name("kubernetes-validate"), "--strict", valid)


def test_an_agent_in_kubernetes_has_no_secret_of_the_cloud() -> None:
    (agent,) = [each for each in manifests() if each["metadata"]["name"] == AGENT]
    spec = agent["spec"]["template"]["spec"]
    mounted = {name for each in spec["volumes"] for name in volume_names(each)}
    assert mounted == {AGENT, None}
    assert "env" not in spec["containers"][0]
    (node,) = [each for each in manifests() if each["metadata"]["name"] == "fping-exporter-node"]
    assert agent["spec"]["selector"] == node["spec"]["selector"], "which is what the PodMonitor knows"


def volume_names(volume: dict[str, Any]) -> set[str]:
    """Return the name of the config map or the secret that a volume is."""
    return {volume.get("configMap", {}).get("name"), volume.get("secret", {}).get("secretName")}


def test_the_tag_stands_in_one_place_and_is_this_version() -> None:
    (image,) = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yml").read_text())["images"]
    assert image["newTag"] == __version__
    images = [
        container["image"]
        for each in manifests()
        if "template" in each.get("spec", {})
        for container in each["spec"]["template"]["spec"]["containers"]
    ]
    assert set(images) == {image["name"]}


def test_the_pod_monitor_is_the_scrape_job_in_the_operators_words() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "kubernetes.yml").read_text())["scrape_configs"]
    (monitor,) = [each["spec"] for each in manifests() if each["kind"] == "PodMonitor"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    (chosen,) = monitor["selector"]["matchExpressions"]
    assert (
        f"{chosen['key']} in ({', '.join(chosen['values'])})"
        == (job["kubernetes_sd_configs"][0]["selectors"][0]["label"])
    )
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == (
        job["scrape_interval"],
        job["scrape_timeout"],
    )
    by_port, *relabelings = job["relabel_configs"]
    assert by_port["source_labels"] == ["__meta_kubernetes_pod_container_port_name"]
    assert by_port["regex"] == endpoint["port"]
    snake = [
        {re.sub("L(?=abel)", "_l", key): value for key, value in each.items()}
        for each in endpoint["relabelings"]
    ]
    assert snake == [{"target_label": "job", "replacement": job["job_name"]}, *relabelings]


def test_prometheus_finds_the_pods() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "kubernetes.yml").read_text())["scrape_configs"]
    (discovery,) = job["kubernetes_sd_configs"]
    (selector,) = discovery["selectors"]
    chosen = re.fullmatch(r"app\.kubernetes\.io/name in \((.+)\)", selector["label"])
    assert chosen
    pods = {
        document["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]: document
        for document in manifests()
        if "template" in document.get("spec", {})
    }
    assert sorted(pods) == chosen[1].split(", ")
    for document in pods.values():
        template = document["spec"]["template"]
        # They would make another job find it again, by a name that no rule knows.
        assert not [key for key in template["metadata"].get("annotations", {}) if "prometheus.io" in key]
        assert template["spec"]["containers"][0]["ports"] == [{"name": "http", "containerPort": 10605}]


def test_the_pod_lets_its_own_group_ping() -> None:
    text = (DEPLOY / "kubernetes" / "deployment.yml").read_text()
    pod = next(yaml.safe_load_all(text))["spec"]["template"]["spec"]["securityContext"]
    group = pod["runAsGroup"]
    assert pod["sysctls"] == [{"name": "net.ipv4.ping_group_range", "value": f"{group} {group}"}]


def test_the_compose_file_is_valid() -> None:
    schema = "--builtin-schema=vendor.compose-spec"
    run(Path(sys.executable).with_name("check-jsonschema"), schema, DEPLOY / "compose" / "compose.yml")


def test_compose_passes_os_cloud_on_only_where_it_is_set() -> None:
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yml").read_text())
    environment = compose["services"]["fping-exporter"]["environment"]
    assert environment["OS_CLOUD"] is None, "that is how the Compose specification writes it"


def test_what_the_compose_file_mounts_is_there() -> None:
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yml").read_text())
    mounts = [volume for service in compose["services"].values() for volume in service["volumes"]]
    paths = [DEPLOY / "compose" / mount.split(":")[0] for mount in mounts if mount.startswith(".")]
    assert paths
    assert [str(path) for path in paths if not path.exists()] == []


def test_what_outlives_a_restart_is_on_a_volume_everywhere() -> None:
    container = (DEPLOY / "container" / "Containerfile").read_text()
    (path,) = re.findall(r"(?m)^ENV STATE_DIRECTORY=(\S+)$", container)
    assert re.findall(r"(?m)^VOLUME (\S+)$", container) == [path]
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yml").read_text())
    assert f"fping-exporter:{path}" in compose["services"]["fping-exporter"]["volumes"]
    assert "fping-exporter" in compose["volumes"]
    for name, kind in (("deployment", "emptyDir"), ("daemonset", "hostPath")):
        manifest = next(yaml.safe_load_all((DEPLOY / "kubernetes" / f"{name}.yml").read_text()))
        pod = manifest["spec"]["template"]["spec"]
        (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["mountPath"] == path]
        (volume,) = [each for each in pod["volumes"] if each["name"] == mount["name"]]
        assert kind in volume
        assert not mount.get("readOnly")
    assert re.findall(r"(?m)^StateDirectory=(\S+)$", UNIT.read_text()) == [Path(path).name]


@pytest.mark.parametrize("unset", ["alertmanager.yml", "urls.tmpl", "fping-exporter.rules.yml", None])
def test_compose_refuses_the_placeholders(unset: str | None, tmp_path: Path) -> None:
    """The command of the service `check` fails on the files as shipped, and passes with every value set."""
    services = yaml.safe_load((DEPLOY / "compose" / "compose.yml").read_text())["services"]
    waits_for = services["alertmanager"]["depends_on"]
    assert waits_for == {"check": {"condition": "service_completed_successfully"}}
    (script,) = services["check"]["command"]
    for path in (
        "alertmanager/alertmanager.yml",
        "alertmanager/templates/urls.tmpl",
        "prometheus/fping-exporter.rules.yml",
    ):
        text = (DEPLOY / path).read_text()
        copy = tmp_path / Path(path).name
        copy.write_text(text if copy.name == unset else set_values(text))
        script = script.replace(f"/etc/{path}", str(copy))
    command = [*services["check"]["entrypoint"], script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if unset is None else 1), done.stdout + done.stderr
    assert ("placeholders" in done.stderr) == (unset is not None)


def set_values(text: str) -> str:
    """Return a file of deploy/ with the placeholders replaced, as by an operator."""
    return text.replace("localhost:25", "mail.cloud.test:25").replace("example.org", "cloud.test")


def test_images_are_pinned() -> None:
    compose = (DEPLOY / "compose" / "compose.yml").read_text()
    container = (DEPLOY / "container" / "Containerfile").read_text()
    images = re.findall(r"(?m)^\s*image: (\S+)", compose) + re.findall(r"(?m)^FROM (\S+)", container)
    assert images
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+", image)] == []


def test_the_container_runs_as_nobody_in_the_group_that_every_runtime_lets_ping() -> None:
    container = (DEPLOY / "container" / "Containerfile").read_text()
    assert re.search(r"(?m)^USER 65534:0$", container)
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", container)
    assert all((ROOT / name).exists() for names in copied for name in names.split())
