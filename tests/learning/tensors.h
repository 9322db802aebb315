// Tensors of a safetensors file, for the programs of this folder: all in float64.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <span>
#include <string>
#include <vector>

#include "spinor/io/file.h"
#include "spinor/io/safetensors.h"

namespace spinor::learning {

using Tensors = std::map<std::string, at::Tensor>;

inline std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

inline Tensors read_tensors(const char* path) {
  const File file = File::open(path);
  const SafetensorsHeader header = read_safetensors_header(file);
  Tensors tensors;
  for (const TensorInfo& info : header.tensors) {
    tensors[info.name] = at::empty(info.shape, at::kDouble);
    file.read(info.begin, bytes_of(tensors[info.name]));
  }
  return tensors;
}

inline void write_tensors(const char* path, const Tensors& tensors) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, tensor] : tensors)
    infos.push_back({.name = name, .dtype = DType::F64, .shape = tensor.sizes().vec()});
  const std::string header = make_safetensors_header(infos, {});
  File file = File::create(path, infos.back().end);
  file.write(0, std::as_bytes(std::span(header)));
  for (const TensorInfo& info : infos) file.write(info.begin, bytes_of(tensors.at(info.name)));
}

}  // namespace spinor::learning
