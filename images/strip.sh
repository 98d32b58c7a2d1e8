#!/bin/sh
# Take out of an environment what only those who develop its packages need: their tests, C headers and static libraries.
set -eu
packages="$1"/lib/python3*/site-packages
cd $packages

# numpy/_core's stay: numpy.testing, which others import, reads from them.
for package in matplotlib mpl_toolkits mpmath networkx numpy pandas pyarrow scipy sklearn sympy zarr; do
    [ ! -d "$package" ] || find "$package" -type d -name tests ! -path numpy/_core/tests -prune -exec rm -rf {} +
done
rm -rf torch/include torch/share torch/test numpy/_core/include pyarrow/include pyarrow/src
find . -name '*.a' -type f -delete
# Of torch's programs, only the one that it starts itself.
[ ! -d torch/bin ] || find torch/bin -type f ! -name torch_shm_manager -delete
