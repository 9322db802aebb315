#include "spinor/io/whole_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <vector>

namespace spinor {

void write_whole(const std::filesystem::path& path, int64_t bytes, const std::function<void(File&)>& write) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  try {
    File file = File::create(temporary, bytes);
    write(file);
    file.sync();
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw system_error(path, "cannot rename into place", errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorBytes> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorInfo> infos;
  std::map<std::string, std::span<const std::byte>> bytes;
  for (const TensorBytes& tensor : tensors) {
    infos.push_back(tensor.info);
    bytes[tensor.info.name] = tensor.bytes;
  }
  const std::string header = make_safetensors_header(infos, metadata);
  write_whole(path, infos.empty() ? std::ssize(header) : infos.back().end, [&](File& file) {
    file.write(0, std::as_bytes(std::span(header)));
    for (const TensorInfo& info : infos) file.write(info.begin, bytes.at(info.name));
  });
}

}  // namespace spinor
