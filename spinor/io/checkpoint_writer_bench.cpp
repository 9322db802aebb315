// write/<what>/<MiB>: bytes of tensors to disk, fsync included, in the current directory. Compare with the plain copy.
#include <benchmark/benchmark.h>

#include "spinor/base/parallel.h"
#include "spinor/io/checkpoint_writer.h"
#include "spinor/io/digest.h"
#include "spinor/io/file.h"

namespace {

namespace fs = std::filesystem;

constexpr int64_t kTensorBytes = 32 << 20, kBlockBytes = 4 << 20;

std::vector<std::byte> block() {
  std::vector<std::byte> bytes(kBlockBytes);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 2654435761U >> 24);
  return bytes;
}

// What cp does: one thread, one file, then fsync.
void plain(benchmark::State& state) {
  const std::vector<std::byte> bytes = block();
  const int64_t total = state.range(0) << 20;
  for (auto _ : state) {
    fs::remove("plain.bench");
    spinor::File file = spinor::File::create("plain.bench", 0);
    for (int64_t at = 0; at < total; at += kBlockBytes) file.write(at, bytes);
    file.sync();
  }
  fs::remove("plain.bench");
  state.SetBytesProcessed(state.iterations() * total);
}

void checkpoint(benchmark::State& state) {
  const std::vector<std::byte> bytes = block();
  std::vector<spinor::TensorInfo> tensors;
  for (int64_t i = 0; i < (state.range(0) << 20) / kTensorBytes; ++i)
    tensors.push_back({.name = std::to_string(i), .dtype = spinor::DType::U8, .shape = {kTensorBytes}});
  const spinor::OutputLayout layout = spinor::layout_shards(tensors, 5'000'000'000);
  fs::create_directories("source.bench");
  for (auto _ : state) {
    fs::remove_all("out.bench");
    spinor::CheckpointWriter writer("out.bench", "source.bench", layout, spinor::Json::object(), {});
    spinor::parallel_for(std::ssize(tensors), 0, [&](int64_t i, int) {
      const std::string& name = tensors[static_cast<size_t>(i)].name;
      for (int64_t at = 0; at < kTensorBytes; at += kBlockBytes) writer.write(name, at, bytes);
      writer.finish_tensor(name, nullptr);
    });
    writer.finish();
  }
  fs::remove_all("out.bench");
  fs::remove_all("source.bench");
  state.SetBytesProcessed(state.iterations() * layout.bytes);
}

void xxh3(benchmark::State& state) {
  const std::vector<std::byte> bytes = block();
  for (auto _ : state) benchmark::DoNotOptimize(spinor::digest(bytes));
  state.SetBytesProcessed(state.iterations() * kBlockBytes);
}

BENCHMARK(plain)->Name("write/plain")->Arg(2048)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(checkpoint)->Name("write/checkpoint")->Arg(2048)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(xxh3)->Name("digest/4MiB/xxh3-128");

}  // namespace
