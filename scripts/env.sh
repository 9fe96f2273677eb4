# shellcheck shell=bash
# For `source scripts/env.sh` in bash: the environment of the live tests, set up and exported into this shell.
# `scripts/test.sh --teardown` takes it away again.
if foundry_test_env=$("$(dirname "${BASH_SOURCE[0]}")/test.sh" --setup); then
  eval "$foundry_test_env"
fi
unset foundry_test_env
