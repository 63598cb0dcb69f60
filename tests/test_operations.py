"""What docs/operations says: its manifest holds together, and its settings and commands are there."""

import re
from pathlib import Path
from typing import Any

import yaml

from app.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
OPERATIONS = ROOT / "docs" / "operations"
PAGE = OPERATIONS.with_suffix(".md")


def manifest() -> tuple[dict[str, Any], dict[str, Any]]:
    cluster, driver = yaml.safe_load_all((OPERATIONS / "kuberay.yaml").read_text("utf-8"))
    return cluster, driver


def pods() -> list[dict[str, Any]]:
    cluster, driver = manifest()
    spec = cluster["spec"]
    templates = [spec["headGroupSpec"]["template"], driver["spec"]["template"]]
    templates += [group["template"] for group in spec["workerGroupSpecs"]]
    return [template["spec"] for template in templates]


def test_the_manifest_is_a_ray_cluster_and_a_worker_that_joins_it() -> None:
    cluster, driver = manifest()
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    (group,) = cluster["spec"]["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    # Ray's parameters are words; a number there is refused by the operator.
    for each in (cluster["spec"]["headGroupSpec"], group):
        assert all(isinstance(value, str) for value in each["rayStartParams"].values())
    assert (driver["apiVersion"], driver["kind"]) == ("apps/v1", "Deployment")
    labels = driver["spec"]["template"]["metadata"]["labels"]
    assert driver["spec"]["selector"]["matchLabels"] == labels
    (container,) = driver["spec"]["template"]["spec"]["containers"]
    assert f"{cluster['metadata']['name']}-head-svc:6379" in container["args"][0]
    assert {"name": "CARTRIDGES_FLEET", "value": "auto"} in container["env"]
    # Whoever speaks to the cluster has its token: nodes, driver and autoscaler.
    spoken = [cluster["spec"]["autoscalerOptions"]["env"]]
    spoken += [each["env"] for pod in pods() for each in pod["containers"]]
    for env in spoken:
        assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= {each["name"] for each in env}


def test_every_pod_has_the_same_image_data_and_settings() -> None:
    images, claims, shared = set(), set(), []
    for pod in pods():
        (container,) = pod["containers"]
        images.add(container["image"])
        claims |= {volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        variables = {each["name"]: each for each in container["env"]}
        assert variables["CARTRIDGES_DATA"]["value"] == mounted["data"] == "/data"
        assert set(container["resources"]) == {"requests", "limits"}
        names = ("CARTRIDGES_REDIS_URL", "CARTRIDGES_THREADS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
        shared.append([variables[name] for name in names])
        for name in variables:
            if name.startswith(PREFIX):
                assert name.removeprefix(PREFIX).lower() in Settings.model_fields
    assert len(images) == len(claims) == 1
    assert shared == [shared[0]] * len(shared)


def test_the_settings_that_the_page_names_are_there() -> None:
    text = PAGE.read_text("utf-8")
    named = set(re.findall(rf"{PREFIX}(\w+)", text))
    assert {"FLEET", "FLEET_WORKERS", "FLEET_GPUS", "FLEET_GROUP"} <= named
    assert {name.lower() for name in named} <= set(Settings.model_fields)
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (PAGE.parent / link).exists(), link


def test_prometheus_asks_every_api_and_its_alerts_hold_tiers_against_each_other() -> None:
    monitoring = ROOT / "docs" / "monitoring"
    jobs = yaml.safe_load((monitoring / "prometheus.yml").read_text("utf-8"))["scrape_configs"]

    def named(job: dict[str, Any]) -> set[str]:
        found = {target for each in job.get("static_configs", ()) for target in each["targets"]}
        by_name = job.get("dns_sd_configs", ())
        return found | {f"{name}:{each['port']}" for each in by_name for name in each["names"]}

    apis, routers = jobs
    asked = named(apis)
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    routing = [name for name, each in services.items() if each.get("command", [""])[0] == "route"]
    assert named(routers) == {f"{name}:8000" for name in routing}
    urls = [each.get("environment", {}).get("CARTRIDGES_REPLICA_URL") for each in services.values()]
    assert asked == {url.removeprefix("http://") for url in urls if url}
    alerts = yaml.safe_load((monitoring / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    (away,) = [each["expr"] for each in alerts if each["alert"] == "Unreachable"]
    assert all(job["job_name"] in away for job in jobs)
    (cold,) = [each["expr"] for each in alerts if each["alert"] == "ColdCartridges"]
    # The engine's own hits come after the others': with them the share could not rise above a half.
    assert 'tier!="device"' in cold.split(" > ")[1]


def test_what_a_file_of_variables_leaves_empty_is_not_chosen(monkeypatch: Any) -> None:
    optional = [name for name, field in Settings.model_fields.items() if field.default is None]
    assert {"redis_url", "vllm_url", "fleet", "threads", "compression"} <= {*optional}
    for name in optional:
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", "")
    settings = Settings()
    assert all(getattr(settings, name) is None for name in optional)
