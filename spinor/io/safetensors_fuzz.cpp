// The header of a safetensors file: refused with an Error, or every tensor lies inside the file.
#include <cstdlib>

#include "spinor/base/error.h"
#include "spinor/io/safetensors.h"

namespace {

// What the parser promises, checked without it.
void check(const spinor::SafetensorsHeader& header, int64_t file_bytes) {
  int64_t end = header.data_begin;
  for (const spinor::TensorInfo& tensor : header.tensors) {
    if (tensor.begin != end || tensor.end < tensor.begin) std::abort();
    if (tensor.elements() != tensor.rows() * tensor.cols()) std::abort();
    if (tensor.bytes() * 8 != tensor.elements() * spinor::info(tensor.dtype).bits) std::abort();
    end = tensor.end;
  }
  if (end != file_bytes) std::abort();
}

}  // namespace

// Byte 0 odd: the rest is a file as it is. Even: byte 1 is the number of bytes of tensors and the rest is JSON, so that
// a mutation need not get the length right as well.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  std::string header(reinterpret_cast<const char*>(data) + 2, size - 2);
  if (data[0] % 2 == 0) {
    const uint64_t length = header.size();
    header.insert(0, reinterpret_cast<const char*>(&length), sizeof(length));
  }
  const int64_t file_bytes = std::ssize(header) + data[1];
  try {
    check(spinor::parse_safetensors_header(std::as_bytes(std::span(header)), file_bytes, "fuzz"), file_bytes);
  } catch (const spinor::Error&) {
  }
  return 0;
}
