#include "spinor/runtime/decoder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/runtime/testing.h"

namespace spinor::runtime::decoder_test {
namespace {

class RuntimeDecoder : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;

  static at::Tensor ids(int64_t sequences, int64_t tokens, uint32_t seed = 3) {
    const std::vector<int32_t> all = testing::tokens(sequences * tokens, 40, seed);
    return at::tensor(all, at::kInt).to(at::kLong).reshape({sequences, tokens});
  }
};

TEST_F(RuntimeDecoder, HeldWeightsAndWeightsMadeAgainGiveTheSameBits) {
  for (const bool tied : {false, true}) {
    const Model model = testing::make_model(directory_, {.tied = tied, .biases = true});
    RewritePlan quantized = testing::rotated(model, testing::kAllSpins);
    testing::quantize(model, quantized, 4);
    for (const RewritePlan& plan : {RewritePlan(model), testing::rotated(model, testing::kAllSpins), quantized})
      for (const DType dtype : {DType::F32, DType::BF16}) {
        Decoder held(plan, {.dtype = dtype, .memory = 1 << 30}), made(plan, {.dtype = dtype, .memory = 1});
        ASSERT_TRUE(held.resident());
        ASSERT_FALSE(made.resident());
        const at::Tensor tokens = ids(3, 20);
        const at::Tensor first = held.forward(tokens), again = held.forward(tokens);
        EXPECT_TRUE(first.equal(again));
        EXPECT_TRUE(first.equal(made.forward(tokens)));
        EXPECT_TRUE(held.logits(first).equal(made.logits(first)));
      }
  }
}

TEST_F(RuntimeDecoder, ASequenceDoesNotDependOnTheOthers) {
  const Model model = testing::make_model(directory_, {.biases = true});
  const RewritePlan plan = testing::rotated(model, testing::kAllSpins);
  RuntimeOptions options{.dtype = DType::F64, .threads = 1};
  options.activations = LowBits{.bits = 4};
  options.kv = LowBits{.bits = 4};
  Decoder decoder(plan, options);
  const at::Tensor tokens = ids(4, 12);
  at::Tensor others = ids(4, 12, 8);
  others.select(0, 2).copy_(tokens.select(0, 2));
  EXPECT_TRUE(decoder.forward(tokens).select(0, 2).equal(decoder.forward(others).select(0, 2)));
  // Alone, a product of another shape may sum in another order.
  Decoder plain(plan, {.dtype = DType::F64, .threads = 1});
  const at::Tensor together = plain.forward(tokens), alone = plain.forward(tokens.narrow(0, 2, 1));
  EXPECT_LE((alone.select(0, 0) - together.select(0, 2)).abs().max().item<double>(), 1e-12);
}

// More sequences than go through a layer at once.
TEST_F(RuntimeDecoder, BatchesAreThoseOfManySequences) {
  Decoder decoder(RewritePlan(testing::make_model(directory_)), {.dtype = DType::F64, .threads = 1});
  const at::Tensor tokens = ids(9, 400), all = decoder.forward(tokens);
  for (const int64_t i : {0, 1, 5, 8})
    EXPECT_LE((decoder.forward(tokens.narrow(0, i, 1)).select(0, 0) - all.select(0, i)).abs().max().item<double>(),
              1e-12);
}

// Of several lengths, with caches and without, where weights are held and where they are made layer by layer.
TEST_F(RuntimeDecoder, SequencesOfSeveralLengthsGoThroughTheLayersTogether) {
  const RewritePlan plan = testing::rotated(testing::make_model(directory_, {.biases = true}), testing::kAllSpins);
  for (const int64_t memory : {int64_t{1} << 30, int64_t{1}}) {
    Decoder decoder(plan, {.dtype = DType::F64, .threads = 1, .memory = memory});
    KeyValueCache cache = decoder.make_cache(9), other = decoder.make_cache(9);
    const at::Tensor begin = ids(2, 4), end = ids(2, 5, 9);
    const std::vector<Batch> first = {{ids(3, 11)}, {begin, &cache}, {ids(1, 2)}};
    const std::vector<at::Tensor> together = decoder.forward(first);
    EXPECT_TRUE(together[0].equal(decoder.forward(first[0].tokens)));
    EXPECT_TRUE(together[1].equal(decoder.forward(begin, &other)));
    EXPECT_TRUE(together[2].equal(decoder.forward(first[2].tokens)));
    const std::vector<Batch> second = {{end, &cache}, {ids(4, 1)}};
    EXPECT_TRUE(decoder.forward(second).front().equal(decoder.forward(end, &other)));
    EXPECT_EQ(cache.length(), 9);
  }
}

TEST_F(RuntimeDecoder, LeavesContinueAStemInTheSamePass) {
  Decoder decoder(testing::rotated(testing::make_model(directory_), testing::kAllSpins), {.dtype = DType::F64});
  const at::Tensor begin = ids(2, 5), end = ids(3, 4, 9), rows = at::tensor(std::vector<int64_t>{1, 0, 1}, at::kLong);
  ASSERT_TRUE(decoder.can_continue());
  for (int twice = 0; twice < 2; ++twice) {
    KeyValueCache stem = KeyValueCache::of_stem(), leaves = KeyValueCache::of_leaves(stem, 5, rows);
    const std::vector<Batch> batches = {{begin, &stem}, {ids(1, 3)}, {end, &leaves}};
    const std::vector<at::Tensor> states = decoder.forward(batches);
    const at::Tensor whole = decoder.forward(at::cat({begin.index_select(0, rows), end}, 1));
    EXPECT_LE((states[0].index_select(0, rows) - whole.narrow(1, 0, 5)).abs().max().item<double>(), 1e-12);
    EXPECT_LE((states[2] - whole.narrow(1, 5, 4)).abs().max().item<double>(), 1e-12);
  }
}

TEST_F(RuntimeDecoder, ACacheKeepsSomeOfItsSequences) {
  Decoder decoder(RewritePlan(testing::make_model(directory_)), {.dtype = DType::F64, .threads = 1});
  const at::Tensor tokens = ids(4, 7), kept = at::tensor(std::vector<int64_t>{1, 3}, at::kLong);
  KeyValueCache cache = decoder.make_cache(7);
  decoder.forward(tokens.narrow(1, 0, 5), &cache);
  cache.keep(kept);
  const at::Tensor rest = decoder.forward(tokens.index_select(0, kept).narrow(1, 5, 2), &cache);
  const at::Tensor whole = decoder.forward(tokens).index_select(0, kept).narrow(1, 5, 2);
  EXPECT_LE((rest - whole).abs().max().item<double>(), 1e-12);
}

TEST_F(RuntimeDecoder, ATokenDoesNotSeeThoseAfterIt) {
  Decoder decoder(RewritePlan(testing::make_model(directory_)), {.threads = 1});
  const at::Tensor tokens = ids(1, 16);
  at::Tensor changed = tokens.clone();
  changed.index_put_({0, 9}, (changed.index({0, 9}) + 1) % 40);
  const at::Tensor a = decoder.forward(tokens), b = decoder.forward(changed);
  EXPECT_TRUE(a.narrow(1, 0, 9).equal(b.narrow(1, 0, 9)));
  for (int64_t i = 9; i < 16; ++i) EXPECT_FALSE(a.select(1, i).equal(b.select(1, i))) << i;
}

// Token by token with the cache, also in low bits: keys and values are quantized once, when they are stored.
TEST_F(RuntimeDecoder, TheCacheContinuesWhereItStopped) {
  const Model model = testing::make_model(directory_, {.biases = true});
  const RewritePlan plan = testing::rotated(model, testing::kAllSpins);
  Decoder decoder(plan, {.dtype = DType::F64, .threads = 1});
  const at::Tensor tokens = ids(2, 10), whole = decoder.forward(tokens);
  KeyValueCache cache = decoder.make_cache(10);
  at::Tensor parts = decoder.forward(tokens.narrow(1, 0, 4), &cache);
  for (const auto& [first, count] : {std::pair(4, 3), std::pair(7, 1), std::pair(8, 2)})
    parts = at::cat({parts, decoder.forward(tokens.narrow(1, first, count), &cache)}, 1);
  EXPECT_EQ(cache.length(), 10);
  EXPECT_LE((parts - whole).abs().max().item<double>(), 1e-12);
}

TEST_F(RuntimeDecoder, ShowsTheStreamAfterEveryLayer) {
  const Model model = testing::make_model(directory_, {.layers = 3});
  Decoder source(RewritePlan(model), {.dtype = DType::F64});
  Decoder rotated(testing::rotated(model, {Spin::R1}), {.dtype = DType::F64, .saved = DType::F64});
  const at::Tensor tokens = ids(1, 6);
  std::vector<at::Tensor> streams[2];
  const auto keep = [&](size_t which) {
    return [&streams, which](int64_t layer, const at::Tensor& stream, const at::Tensor& experts) {
      EXPECT_FALSE(experts.defined());
      EXPECT_EQ(layer, std::ssize(streams[which]));
      streams[which].push_back(stream.clone());
    };
  };
  source.forward(tokens, nullptr, keep(0));
  rotated.forward(tokens, nullptr, keep(1));
  ASSERT_EQ(streams[0].size(), 3u);
  for (size_t i = 0; i < 3; ++i) {  // rotated rows are as long as those of the source
    const at::Tensor lengths = streams[0][i].norm(2, -1);
    EXPECT_LE((streams[1][i].norm(2, -1) - lengths).abs().max().item<double>(), 1e-12);
    EXPECT_GT((streams[1][i] - streams[0][i]).abs().max().item<double>(), 1e-3);
  }
}

TEST_F(RuntimeDecoder, SaysWhatItCannotRun) {
  const Model model = testing::make_model(directory_);
  Decoder decoder(RewritePlan(model), {});
  const std::string outside =
      "tokens: are not all below the vocabulary's size 40; the tokenizer does not belong to this model";
  for (const int64_t bad : {int64_t{40}, int64_t{-1}})
    EXPECT_EQ(
        testing::message_of([&] { decoder.forward(at::tensor(std::vector<int64_t>{3, bad}, at::kLong).unsqueeze(0)); }),
        outside);
  EXPECT_EQ(testing::message_of([&] { Decoder(RewritePlan(model), {.device = "abacus"}); }),
            "device abacus: is not one that this libtorch can use; use cpu, or a torch with CUDA");
  RewritePlan elsewhere(model);
  elsewhere.add_online({"lm_head", "R5", TransformLocation::output, Rotation::hadamard(Hadamard::sylvester(32))});
  elsewhere.add_online({"model.norm", "R5", TransformLocation::input, Rotation::hadamard(Hadamard::sylvester(32))});
  EXPECT_EQ(testing::message_of([&] { Decoder(elsewhere, {}); }),
            "model.norm: spinor cannot run a transform at its input; it runs input and output of linears, output of "
            "embeddings, q_attn and k_cache");
}

}  // namespace
}  // namespace spinor::runtime::decoder_test
