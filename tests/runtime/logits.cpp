// logits MODEL TOKENS.json DTYPE OUT [all | steps]: a model's logits on rows of tokens, as raw doubles.
// all: in one forward pass. steps: a few tokens, then one at a time with the cache.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>

#include "spinor/base/json.h"
#include "spinor/io/checkpoint.h"
#include "spinor/runtime/decoder.h"
#include "spinor/transform/stored_online.h"

namespace spinor {
namespace {

at::Tensor read_tokens(const std::string& path) {
  std::ifstream file(path);
  const Json json = parse_json(std::string(std::istreambuf_iterator<char>(file), {}), path);
  std::vector<int64_t> ids;
  for (const Json& row : json)
    for (const Json& id : row) ids.push_back(id.get<int64_t>());
  return at::tensor(ids, at::kLong).reshape({std::ssize(json), -1});
}

at::Tensor step_by_step(runtime::Decoder& decoder, const at::Tensor& tokens, int64_t first) {
  runtime::KeyValueCache cache = decoder.make_cache(tokens.size(1));
  std::vector<at::Tensor> logits = {decoder.logits(decoder.forward(tokens.narrow(1, 0, first), &cache))};
  for (int64_t i = first; i < tokens.size(1); ++i)
    logits.push_back(decoder.logits(decoder.forward(tokens.narrow(1, i, 1), &cache)));
  return at::cat(logits, 1);
}

void run(char** arguments) {
  const c10::InferenceMode inference;
  const Model model = Model::describe(Checkpoint::open(arguments[1]));
  runtime::Decoder decoder(as_stored(model), {.dtype = find_dtype(arguments[3])->dtype});
  const at::Tensor tokens = read_tokens(arguments[2]);
  const at::Tensor logits = std::string_view(arguments[5]) == "steps" ? step_by_step(decoder, tokens, 5)
                                                                      : decoder.logits(decoder.forward(tokens));
  const at::Tensor wide = logits.to(at::kDouble).contiguous();
  std::ofstream(arguments[4], std::ios::binary)
      .write(static_cast<const char*>(wide.data_ptr()), static_cast<std::streamsize>(wide.nbytes()));
}

}  // namespace
}  // namespace spinor

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  try {
    spinor::run(argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
