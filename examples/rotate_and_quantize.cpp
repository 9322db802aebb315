// Rotates and quantizes a checkpoint as a recipe of two steps says.
//
//   rotate_and_quantize MODEL OUT
//
// MODEL is a directory, or org/name in the local Hugging Face cache.
#include <iostream>

#include "spinor/spinor.h"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " MODEL OUT\n";
    return 2;
  }
  spinor::Recipe recipe;
  recipe.add<spinor::SpinQuantModifier>({.transform_type = "auto"});
  recipe.add<spinor::QuantizationModifier>({.ignore = {"lm_head"}, .scheme = "W8A8"});
  spinor::Job job(spinor::Model::open(argv[1]), std::move(recipe));
  job.save(argv[2]);
  for (const std::string& warning : job.warnings()) std::cerr << "warning: " << warning << "\n";
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
