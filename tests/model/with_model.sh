#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# with_model.sh COMMAND...: runs it if the model is there, else says why not and exits 77, which ctest calls skipped.
if [ ! -f "${MNEME_MODEL-}" ]; then
  echo "skipped: no model at '${MNEME_MODEL-}'; 'sh cmake/bootstrap.sh model' fetches it"
  exit 77
fi
exec "$@"
