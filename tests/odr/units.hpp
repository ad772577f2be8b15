// SPDX-License-Identifier: Apache-2.0
// What crosses units of different instruction sets: plain functions on plain types.
#pragma once

float run_base(float);
float run_avx2(float);
float run_avx512(float);
float files_avx512(float x);  // gives x back
