// The layout of the C structs is part of the contract: a change breaks this file first.
// SPDX-License-Identifier: Apache-2.0

#include "curta.h"

#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(curta_options) == 96, "curta_options");
_Static_assert(sizeof(curta_plan_info) == 104, "curta_plan_info");
#endif
_Static_assert(sizeof(curta_sampling) == 28, "curta_sampling");
_Static_assert(sizeof(curta_image_info) == 40, "curta_image_info");
