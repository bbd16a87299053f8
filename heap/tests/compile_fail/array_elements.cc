// EXPECT-ERROR: a managed type has a part with a destructor

#include <string>

#include "heap/field.h"
#include "heap/type_info.h"

const void* type = &ebb::kArrayTypeInfo<std::string>;
