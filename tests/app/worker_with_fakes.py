"""A worker process whose distillation takes no model: what the tests kill and start again."""

from app.settings import Settings
from app.worker import run_worker
from tests.app.app_fakes import make_parts

if __name__ == "__main__":
    run_worker(Settings(), make_parts())
