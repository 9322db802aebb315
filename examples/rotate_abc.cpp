// Teaches spinor to rotate a class of models it has never heard of: two operations and an iterator over its norms.
//
//   rotate_abc MODEL OUT [RECIPE]
//
// An AbcForCausalLM is embed, blocks of attn_norm, attn.{query,key,value,out}, mlp_norm, mlp.{up,down}, then last_norm
// and head; its norms are RMS norms.
#include <iostream>
#include <string>
#include <vector>

#include "spinor/spinor.h"

namespace {

using namespace spinor;

// Which linears read through which norm.
std::vector<NormLinears> abc_norms(const Model& model) {
  std::vector<NormLinears> pairs;
  for (int64_t i = 0; i < model.num_layers(); ++i) {
    const std::string block = "blocks." + std::to_string(i);
    pairs.push_back({block, "attn_norm", {block + ".attn.query", block + ".attn.key", block + ".attn.value"}});
    pairs.push_back({block, "mlp_norm", {block + ".mlp.up"}});
  }
  pairs.push_back({"", "last_norm", {"head"}});
  return pairs;
}

Rotation make_rotation(int64_t size, const RotateOptions& options) {
  Random random(options.spin.seed.value_or(kPeerSeed));
  return find_transform_type(options.spin.transform_type).make({.size = size}, random);
}

// The residual stream x becomes x R1: who writes to it is rotated, who reads it undoes that.
void first_operation(const Model& model, RewritePlan& plan, const RotateOptions& options) {
  fuse_layer_norms(model, plan);
  const Rotation r1 = make_rotation(model.hidden_size(), options), back = r1.inverse();
  AutoOperation::rotate_output(plan, "embed", r1, "R1");
  for (int64_t i = 0; i < model.num_layers(); ++i) {
    const std::string block = "blocks." + std::to_string(i);
    for (const char* reader : {".attn.query", ".attn.key", ".attn.value", ".mlp.up"})
      AutoOperation::rotate_input(plan, block + reader, back, "R1'");
    for (const char* writer : {".attn.out", ".mlp.down"}) AutoOperation::rotate_output(plan, block + writer, r1, "R1");
  }
  AutoOperation::rotate_input(plan, "head", back, "R1'");
}

// The values of every head become v R2, which attn.out undoes for every head that reads them.
void second_operation(const Model& model, RewritePlan& plan, const RotateOptions& options) {
  const Rotation r2 = make_rotation(model.head_dim(), options);
  for (int64_t i = 0; i < model.num_layers(); ++i) {
    const std::string attn = "blocks." + std::to_string(i) + ".attn";
    AutoOperation::rotate_output(plan, attn + ".value", r2, "R2");
    AutoOperation::rotate_input(plan, attn + ".out", r2.inverse(), "R2'");
  }
}

// Optional: with it, rotate_model checks that the two operations cancel.
const SpinQuantMapping kAbcMapping = {.embedding = "embed",
                                      .attn_q = "re:.*attn.query$",
                                      .attn_k = "re:.*attn.key$",
                                      .attn_v = "re:.*attn.value$",
                                      .attn_o = "re:.*attn.out$",
                                      .mlp_in = {"re:.*mlp.up$"},
                                      .mlp_out = {"re:.*mlp.down$"},
                                      .lm_head = "head"};

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 4) {
    std::cerr << "usage: " << argv[0] << " MODEL OUT [RECIPE]\n";
    return 2;
  }
  NormLinearIterator::register_iterator(
      {.name = "abc_norms",
       .supports_model = [](const Model& model) { return is_instance(model, "AbcForCausalLM"); },
       .pairs = abc_norms});
  RotateOperationRegistry::register_operation("AbcForCausalLM", first_operation);
  RotateOperationRegistry::register_operation("AbcForCausalLM", second_operation);

  const Model model = Model::describe(Checkpoint::open(argv[1]), {.accept_unknown = true});
  RewritePlan plan(model);
  if (argc == 4) {
    Recipe recipe = Recipe::load(argv[3]);
    run_recipe(recipe, model, plan);
  } else {
    rotate_model(model, plan, {.spin = {.transform_type = "random-hadamard", .mappings = kAbcMapping}});
  }
  save(plan, argv[2]);
  std::cout << plan.text();
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
