#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the peers into virtual environments in FOLDER: sh bench/peers/setup.sh FOLDER. What is there stays.
#   FOLDER/ops           torch, onnxruntime, faiss-cpu (requirements.txt)
#   FOLDER/llama-g++     llama-cpp-python as g++ makes it, compiled here: half an hour on two cores
#   FOLDER/llama-clang   the same with the newest clang that is here; none: left out
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

venv() {  # venv NAME PIP-ARGUMENT...: complete or not there at all
  name=$1
  shift
  [ ! -e "$name" ] || return 0
  echo "peers: installing $name" >&2
  if ! { python3 -m venv "$name" && "$name/bin/pip" install --no-cache-dir "$@" >"$name.log" 2>&1; }; then
    rm -rf "$name"
    echo "peers: no $name, see $PWD/$name.log" >&2
  fi
}
venv ops -r "$here/requirements.txt"
llama="llama-cpp-python==0.3.36"
export CMAKE_ARGS=-DLLAVA_BUILD=OFF # no images
CC=gcc CXX=g++ venv llama-g++ "$llama"
for clang in clang-22 clang-21 clang-20 clang-19 clang-18 clang; do
  if command -v "$clang" >/dev/null; then
    CC=$clang CXX=$(echo "$clang" | sed 's/clang/clang++/') venv llama-clang "$llama"
    break
  fi
done
