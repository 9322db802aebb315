#include "spinor/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <numeric>
#include <tuple>
#include <unordered_set>

#include "spinor/base/error.h"
#include "spinor/base/json.h"
#include "spinor/io/file.h"

namespace spinor {
namespace {

constexpr int64_t kLengthBytes = 8;
constexpr std::string_view kMetadata = "__metadata__";

// The safetensors library compares dtypes by their place in its own enumeration, which is by alignment; this is its
// order. Files are laid out in the reverse of it.
constexpr std::array kLayoutOrder = {
    DType::BOOL,    DType::F4,      DType::F6_E2M3, DType::F6_E3M2,     DType::U8,          DType::I8,
    DType::F8_E5M2, DType::F8_E4M3, DType::F8_E8M0, DType::F8_E4M3FNUZ, DType::F8_E5M2FNUZ, DType::I16,
    DType::U16,     DType::F16,     DType::BF16,    DType::I32,         DType::U32,         DType::F32,
    DType::C64,     DType::F64,     DType::I64,     DType::U64};

auto layout_rank(DType dtype) {
  return std::ranges::find(kLayoutOrder, dtype) - kLayoutOrder.begin();
}

std::string about(std::string_view file, std::string_view tensor) {
  return fmt::format("{}: {}", file, tensor);
}

std::string text_of(const std::vector<int64_t>& shape) {
  return Json(shape).dump();
}

std::vector<int64_t> parse_integers(const Json& value, std::string_view key, const std::string& subject) {
  if (!value.is_array()) throw Error(subject, fmt::format("{} is not a list of integers", key));
  std::vector<int64_t> integers;
  for (const Json& item : value) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > uint64_t{INT64_MAX})
      throw Error(subject,
                  fmt::format("{} {} in {} is not a non-negative 64-bit integer", key, item.dump(), value.dump()));
    integers.push_back(item.get<int64_t>());
  }
  return integers;
}

DType parse_dtype(const Json& value, const std::string& subject) {
  if (!value.is_string()) throw Error(subject, "dtype is not a string");
  const auto& spelling = value.get_ref<const std::string&>();
  const DTypeInfo* row = find_dtype(spelling);
  if (!row || row->name != spelling) throw Error(subject, fmt::format("unknown dtype '{}'", spelling));
  return row->dtype;
}

void check_keys(const Json& value, const std::string& subject) {
  if (!value.is_object()) throw Error(subject, "its entry in the header is not an object");
  for (const auto& [key, _] : value.items())
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      throw Error(subject, fmt::format("unknown key '{}' in the header", key));
  for (const char* key : {"dtype", "shape", "data_offsets"})
    if (!value.contains(key)) throw Error(subject, fmt::format("has no {} in the header", key));
}

// begin and end stay relative to the first tensor byte until all of them are known to be sound.
TensorInfo parse_tensor(const std::string& name, const Json& value, int64_t data_bytes, std::string_view file) {
  const std::string subject = about(file, name);
  check_keys(value, subject);
  TensorInfo tensor{.name = name,
                    .dtype = parse_dtype(value["dtype"], subject),
                    .shape = parse_integers(value["shape"], "shape", subject)};
  const std::vector<int64_t> offsets = parse_integers(value["data_offsets"], "data_offsets", subject);
  const std::string range = "data_offsets " + text_of(offsets);
  if (offsets.size() != 2) throw Error(subject, range + " are not a pair");
  tensor.begin = offsets[0], tensor.end = offsets[1];
  if (tensor.begin > tensor.end) throw Error(subject, range + " end before they begin");
  if (tensor.end > data_bytes)
    throw Error(subject, fmt::format("{} reach beyond the {} bytes of tensors in the file", range, data_bytes),
                "the file may be truncated: download or copy it again");
  const int64_t bytes = checked_bytes(tensor.dtype, tensor.shape, subject);
  if (bytes != tensor.bytes())
    throw Error(subject, fmt::format("{} hold {} bytes, but {} {} takes {}", range, tensor.bytes(),
                                     info(tensor.dtype).name, text_of(tensor.shape), bytes));
  return tensor;
}

std::map<std::string, std::string> parse_metadata(const Json& value, std::string_view file) {
  if (value.is_null()) return {};  // as the safetensors library reads it
  if (!value.is_object()) throw Error(about(file, kMetadata), "is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, item] : value.items()) {
    if (!item.is_string()) throw Error(about(file, kMetadata), fmt::format("the value of '{}' is not a string", key));
    metadata[key] = item.get<std::string>();
  }
  return metadata;
}

// Every byte of the file belongs to exactly one tensor.
void check_contiguous(const std::vector<TensorInfo>& tensors, int64_t data_bytes, std::string_view file) {
  int64_t end = 0;
  std::string before = "the header";
  for (const TensorInfo& tensor : tensors) {
    if (tensor.begin != end)
      throw Error(about(file, tensor.name), fmt::format("begins at byte {}, but {} ends at byte {}: {}", tensor.begin,
                                                        before, end, tensor.begin < end ? "they overlap" : "a gap"));
    end = tensor.end, before = tensor.name;
  }
  if (end != data_bytes)
    throw Error(std::string(file),
                fmt::format("{} ends at byte {}, but the file has {} bytes of tensors", before, end, data_bytes));
}

uint64_t header_length(std::span<const std::byte> header) {
  static_assert(std::endian::native == std::endian::little);
  uint64_t length = 0;
  std::memcpy(&length, header.data(), kLengthBytes);
  return length;
}

std::string_view header_text(std::span<const std::byte> header, int64_t file_bytes, const std::string& subject) {
  if (std::min(file_bytes, std::ssize(header)) < kLengthBytes)
    throw Error(subject, fmt::format("{} bytes are too few for a safetensors file", file_bytes));
  const uint64_t length = header_length(header);
  if (length < 2) throw Error(subject, fmt::format("a header of {} bytes is impossible, the least is 2", length));
  if (length > kMaxHeaderBytes)
    throw Error(subject, fmt::format("a header of {} bytes is too long, the limit is {}", length, kMaxHeaderBytes),
                "this is not a safetensors file");
  if (static_cast<int64_t>(length) > std::min(file_bytes, std::ssize(header)) - kLengthBytes)
    throw Error(subject, fmt::format("a header of {} bytes does not fit into {} bytes", length, file_bytes),
                "the file is truncated: download or copy it again");
  const std::string_view text(reinterpret_cast<const char*>(header.data()) + kLengthBytes, length);
  if (text[0] != '{') throw Error(subject, "its header does not begin with '{'");
  return text;
}

// Offsets from the first tensor byte.
void lay_out(std::vector<TensorInfo>& tensors) {
  int64_t end = 0;
  for (TensorInfo& tensor : tensors) {
    tensor.begin = end;
    if (__builtin_add_overflow(end, checked_bytes(tensor.dtype, tensor.shape, tensor.name), &end))
      throw Error(tensor.name, "the file would be too large to be counted in 64 bits");
    tensor.end = end;
  }
}

Json header_json(const std::vector<TensorInfo>& tensors, const std::map<std::string, std::string>& metadata) {
  Json json = Json::object();
  auto& members = json.get_ref<Json::object_t&>();  // emplace_back: operator[] would search all names before it
  if (!metadata.empty()) members.emplace_back(kMetadata, metadata);
  std::unordered_set<std::string_view> names = {kMetadata};
  for (const TensorInfo& tensor : tensors) {
    if (!names.insert(tensor.name).second) throw Error(tensor.name, "two tensors would have this name");
    Json entry = {
        {"dtype", info(tensor.dtype).name}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, tensor.end}}};
    members.emplace_back(tensor.name, std::move(entry));
  }
  return json;
}

std::string header_of(const Json& json) {
  std::string text;
  try {
    text = json.dump();
  } catch (const Json::exception& error) {
    throw Error("safetensors header", fmt::format("a name is not UTF-8: {}", error.what()));
  }
  text.append(-text.size() % kLengthBytes, ' ');
  const uint64_t length = text.size();
  if (length > kMaxHeaderBytes)
    throw Error("safetensors header",
                "takes " + std::to_string(length) + " bytes, the limit is " + std::to_string(kMaxHeaderBytes));
  std::string bytes(kLengthBytes, '\0');
  std::memcpy(bytes.data(), &length, kLengthBytes);
  return bytes + text;
}

size_t leading(const TensorInfo& info) {
  if (info.row_dimensions >= 0) return std::min(static_cast<size_t>(info.row_dimensions), info.shape.size());
  return info.shape.empty() ? 0 : info.shape.size() - 1;
}

}  // namespace

int64_t TensorInfo::elements() const {
  int64_t product = 1;
  for (const int64_t n : shape) product *= n;
  return product;
}

int64_t TensorInfo::cols() const {
  const auto first = static_cast<std::ptrdiff_t>(leading(*this));
  return std::accumulate(shape.begin() + first, shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t TensorInfo::row_bytes() const {
  const int64_t count = rows();
  return count > 0 && bytes() % count == 0 ? bytes() / count : bytes();
}

int64_t TensorInfo::rows() const {
  const auto first = static_cast<std::ptrdiff_t>(leading(*this));
  return std::accumulate(shape.begin(), shape.begin() + first, int64_t{1}, std::multiplies<>());
}

int64_t checked_bytes(DType dtype, const std::vector<int64_t>& shape, std::string_view subject) {
  const auto refuse = [&](std::string_view problem) {
    throw Error(std::string(subject), fmt::format("{} {} {}", info(dtype).name, text_of(shape), problem));
  };
  int64_t bits = info(dtype).bits;
  for (const int64_t n : shape) {
    if (n < 0) refuse("has a negative dimension");
    if (__builtin_mul_overflow(bits, n, &bits)) refuse("is too large to be counted in 64 bits");
  }
  if (bits % 8 != 0) refuse("does not fill its last byte");
  return bits / 8;
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> header, int64_t file_bytes,
                                           std::string_view subject) {
  const std::string_view text = header_text(header, file_bytes, std::string(subject));
  SafetensorsHeader result;
  result.data_begin = kLengthBytes + std::ssize(text);
  const int64_t data_bytes = file_bytes - result.data_begin;
  const Json json = parse_json(text, subject);
  for (const auto& [name, value] : json.items()) {
    if (name == kMetadata)
      result.metadata = parse_metadata(value, subject);
    else
      result.tensors.push_back(parse_tensor(name, value, data_bytes, subject));
  }
  std::ranges::sort(result.tensors, {}, [](const TensorInfo& t) { return std::tie(t.begin, t.end, t.name); });
  check_contiguous(result.tensors, data_bytes, subject);
  for (TensorInfo& tensor : result.tensors) tensor.begin += result.data_begin, tensor.end += result.data_begin;
  return result;
}

SafetensorsHeader read_safetensors_header(const File& file) {
  const int64_t bytes = file.bytes();
  std::vector<std::byte> header(static_cast<size_t>(std::min(bytes, kLengthBytes)));
  file.read(0, header);
  if (std::ssize(header) == kLengthBytes) {
    // A length beyond this limit is the parser's to refuse; here it only must not size the buffer.
    const auto limit = static_cast<uint64_t>(std::min(bytes, kLengthBytes + kMaxHeaderBytes) - kLengthBytes);
    header.resize(header.size() + std::min(header_length(header), limit));
    file.read(0, header);
  }
  return parse_safetensors_header(header, bytes, file.path().string());
}

std::string make_safetensors_header(std::vector<TensorInfo>& tensors,
                                    const std::map<std::string, std::string>& metadata) {
  std::ranges::sort(tensors, [](const TensorInfo& a, const TensorInfo& b) {
    const auto rank_a = layout_rank(a.dtype), rank_b = layout_rank(b.dtype);
    return rank_a != rank_b ? rank_a > rank_b : a.name < b.name;
  });
  lay_out(tensors);
  const std::string header = header_of(header_json(tensors, metadata));
  for (TensorInfo& tensor : tensors) tensor.begin += std::ssize(header), tensor.end += std::ssize(header);
  return header;
}

}  // namespace spinor
