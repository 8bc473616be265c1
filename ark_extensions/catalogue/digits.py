"""Make the demo dataset and model: real data from scikit-learn, written as files. A script for a workspace's Python.

``python digits.py TARGET`` makes ``TARGET/digits`` (PNG files in a folder for each class) and ``TARGET/digits-mlp`` (a
classifier trained on them). Runs in the workspace environment, which has scikit-learn; it imports nothing of Ark.
"""

from __future__ import annotations

import sys
from pathlib import Path

DATASET_README = """# Handwritten digits

1,797 pictures of handwritten digits, 8 x 8 pixels, grey, as PNG files: one folder for each class, `0` to `9`.

The test part of the "Optical Recognition of Handwritten Digits" data set (E. Alpaydin, C. Kaynak, UCI Machine Learning
Repository, CC BY 4.0), as scikit-learn ships it in `sklearn.datasets.load_digits()`; its 17 grey levels are spread to 0-255.

    from pathlib import Path
    import numpy as np
    from PIL import Image

    files = sorted((Path.home() / "imported_datasets/digits").glob("*/*.png"))
    X = np.stack([np.asarray(Image.open(f)).ravel() for f in files]) / 255
    y = np.array([int(f.parent.name) for f in files])
"""

MODEL_README = """# digits-mlp

A small neural network (scikit-learn's MLPClassifier, one hidden layer of {hidden}) trained on 1,438 pictures of the dataset
`digits`; it names {accuracy:.1%} of the other 359 correctly. Input: 64 grey values of an 8 x 8 picture, divided by 255.

    from pathlib import Path
    import joblib
    import numpy as np
    from PIL import Image

    model = joblib.load(Path.home() / "imported_models/digits-mlp/model.joblib")
    picture = np.asarray(Image.open(Path.home() / "imported_datasets/digits/3/0003.png")).ravel() / 255
    print(model.predict([picture]))
"""


def make_dataset(target: Path) -> None:
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for index, (picture, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = target / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(picture * (255 / 16)).astype(np.uint8)).save(folder / f"{index:04}.png")
    (target / "README.md").write_text(DATASET_README)


def make_model(dataset: Path, target: Path) -> None:
    import joblib
    import numpy as np
    from PIL import Image
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    files = sorted(dataset.glob("*/*.png"))
    pictures = np.stack([np.asarray(Image.open(f)).ravel() for f in files]) / 255
    labels = np.array([int(f.parent.name) for f in files])
    learn, check, learn_labels, check_labels = train_test_split(pictures, labels, test_size=0.2, random_state=0, stratify=labels)
    model = MLPClassifier(hidden_layer_sizes=(64,), learning_rate_init=0.005, max_iter=400, random_state=0).fit(learn, learn_labels)
    accuracy = model.score(check, check_labels)
    target.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, target / "model.joblib")
    (target / "labels.txt").write_text("".join(f"{n}\n" for n in model.classes_))
    (target / "README.md").write_text(MODEL_README.format(hidden=64, accuracy=accuracy))


def main(target: Path) -> None:
    make_dataset(target / "digits")
    make_model(target / "digits", target / "digits-mlp")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
