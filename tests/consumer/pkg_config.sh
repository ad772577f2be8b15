#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# pkg_config.sh COMPILER PREFIX VERSION SOURCE PROGRAM: builds and runs a program that knows nothing but pkg-config.
set -eu
export PKG_CONFIG_PATH="$2/share/pkgconfig"
pkg-config --print-errors --exact-version="$3" mneme
# shellcheck disable=SC2046
"$1" -std=c++20 "$4" -o "$5" $(pkg-config --cflags --libs mneme)
"$5"
