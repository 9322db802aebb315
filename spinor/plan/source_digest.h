// What spinor.json says of the source: that its bytes are the same.
#pragma once

#include <map>
#include <string>

#include "spinor/base/json.h"
#include "spinor/io/checkpoint.h"

namespace spinor {

// Of the bytes of one tensor, or of those of its quantized form. Reads them.
std::string digest_of(const Checkpoint& checkpoint, const CheckpointTensor& tensor);

// Per source file one digest: of the lines "name digest" of its tensors, in file order; "-" for one that was left out.
Json source_digests(const Checkpoint& source, const std::map<std::string, std::string>& digests);

}  // namespace spinor
