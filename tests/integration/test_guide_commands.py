"""The commands that the user's guide types in a terminal, in a real sandbox: from `git clone` to a model that is trained.

What cannot be had here is stood in for: the project's repository by a small one of the same shape, reached by its real address
through the operator's mirror, and the flowers by a few files.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ark_extensions.catalogue import import_item
from ark_extensions.environments import PROJECT
from ark_extensions.settings import Settings
from ark_spawner.environment import Mirrors
from tests.contract.spawner_stage import LocalStage, now
from tests.contract.test_spawner import RUNTIMES

pytestmark = pytest.mark.skipif("sandbox" not in RUNTIMES, reason="bubblewrap cannot run on this machine")

CLASSES = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
#: what the project's own script does: a part of each class goes to val, the rest to train
SPLIT = """\
import os, shutil
here = os.path.join(os.getcwd(), "flower_data")
for name in sorted(os.listdir(os.path.join(here, "flower_photos"))):
    if os.path.isdir(os.path.join(here, "flower_photos", name)):
        for number, file in enumerate(sorted(os.listdir(os.path.join(here, "flower_photos", name)))):
            into = os.path.join(here, "val" if number == 0 else "train", name)
            os.makedirs(into, exist_ok=True)
            shutil.copy(os.path.join(here, "flower_photos", name, file), into)
"""
TRAIN = """\
import os
flowers, weights = os.path.abspath("../../data_set/flower_data"), open("resnet34-pre.pth").read()
for part in ("train", "val"):
    print(part, {name: len(os.listdir(os.path.join(flowers, part, name))) for name in sorted(os.listdir(os.path.join(flowers, part)))})
print("trained from", weights)
"""
#: the repository's stand-in lies in the netdisk, where all workspaces of a user find it
PUBLISH = f"""
mkdir -p ~/.local/bin ~/data/mirror/WZMIAOMIAO ~/made/data_set ~/made/pytorch_classification/Test5_resnet
ln -sf /usr/bin/python3 ~/.local/bin/python && cd ~/made && git init -q .
cat > data_set/split_data.py <<'EOF'
{SPLIT}EOF
cat > pytorch_classification/Test5_resnet/train.py <<'EOF'
{TRAIN}EOF
git add . && git -c user.name=a -c user.email=a@b commit -qm first &&
git clone -q --bare . ~/data/mirror/WZMIAOMIAO/deep-learning-for-image-processing.git && cd && rm -rf ~/made && echo published
"""


def commands(language: str) -> str:
    """What the guide types in its chapter on a project from GitHub."""
    text = (PROJECT / f"docs/guide.{language}.md").read_text()
    chapter = re.search(r"### 3\.3 .*?```bash\n(.*?)```", text, re.DOTALL)
    assert chapter
    return chapter[1]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LocalStage]:
    made = LocalStage(tmp_path, sandbox=True)
    made.config.ArkLocalSpawner.mirrors = Mirrors(git_instead_of={"https://github.com/": "file:///ark-contexts/data/mirror/"})
    settings = Settings(state_dir=tmp_path)
    for number, name in enumerate(CLASSES):
        folder = tmp_path / "flowers" / name
        folder.mkdir(parents=True)
        for picture in range(3 + number):
            (folder / f"{picture}.jpg").write_bytes(b"picture %d of %d" % (picture, number))
    (tmp_path / "flowers" / "LICENSE.txt").write_text("CC-BY")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet34.pth").write_bytes(b"weights")
    import_item(made.storage, settings, kind="dataset", name="flower-photos", source_dir=tmp_path / "flowers", now=now())
    import_item(made.storage, settings, kind="model", name="resnet34-pth", source_dir=tmp_path / "weights", now=now())
    yield made
    await made.close()


async def test_the_guides_commands_lead_to_a_model(stage: LocalStage) -> None:
    assert commands("zh") == commands("en")
    stage.order(datasets=("flower-photos",), models=("resnet34-pth",))
    await stage.start()
    home = await stage.run("cd && ls -d data imported_datasets imported_models")
    assert home.split() == ["data", "imported_datasets", "imported_models"]
    assert (await stage.run(PUBLISH)).endswith("published\n")
    said = await stage.run(f"exec 2>&1; set -e; {commands('zh')}")
    counts = {name: 2 + number for number, name in enumerate(CLASSES)}
    assert said.endswith(f"train {counts}\nval {dict.fromkeys(CLASSES, 1)}\ntrained from weights\n"), said
    again = await stage.run(
        "cd ~/deep-learning-for-image-processing/data_set && rm -r flower_data/train flower_data/val && python split_data.py && ls"
    )
    assert again.split() == ["flower_data", "split_data.py"], "it can be divided anew"


async def test_what_was_made_is_there_after_a_stop_and_what_lay_beside_is_gone(stage: LocalStage) -> None:
    stage.order(datasets=("flower-photos",), models=("resnet34-pth",))
    await stage.start()
    await stage.run(f"{PUBLISH}{commands('en')} echo beside > /tmp/beside; echo beside > /var/tmp/beside; echo result > ~/data/result")
    await stage.stop()
    await stage.start()
    found = await stage.run("cat ~/deep-learning-for-image-processing/data_set/flower_data/flower_photos/roses/0.jpg ~/data/result")
    assert found == "picture 0 of 2result\n"
    assert (await stage.run("ls /tmp/beside /var/tmp/beside")).count("No such file") == 2
    stage.order(name="w2")
    await stage.start("w2")
    assert await stage.run("cat /ark-contexts/data/result", "w2") == "result\n", "the netdisk is every workspace's"
