#!/bin/sh
# Makes the environment of an image smaller: removes what no step imports. Runs in the image's build (trainer/Dockerfile).
# tests/e2e/test_container_images.py imports every module in the built image and runs the whole graph there.
#   trim-image.sh SITE-PACKAGES
set -eu
cd "$1"

# Packages that others ask for and no step imports. Model Garden: kaggle (downloads), sacrebleu with lxml (translation),
# ai-edge-litert (TFLite on devices; TensorFlow has its own). TensorFlow: libclang (building TensorFlow).
/opt/uv/bin/uv pip uninstall ai-edge-litert kaggle kagglesdk libclang lxml sacrebleu

# C++ headers, for building TensorFlow ops.
rm -r tensorflow/include
# Descriptions of all of Google's services, for clients that are made at run time. TensorFlow makes one of Cloud TPU.
find googleapiclient/discovery_cache/documents -name '*.json' ! -name 'tpu.*' -delete
# The libraries' own tests.
find matplotlib numpy pandas pyarrow scipy sklearn -type d -name tests -prune -exec rm -r {} +
