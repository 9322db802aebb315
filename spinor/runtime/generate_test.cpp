#include "spinor/runtime/generate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "spinor/runtime/testing.h"

namespace spinor::runtime::generate_test {
namespace {

class Generate : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  RewritePlan plan_{testing::make_model(directory_)};
  const std::vector<int32_t> prompt_ = {3, 1, 4, 1, 5};

  std::vector<int32_t> run(const GenerateOptions& options, const RuntimeOptions& runtime = {.threads = 1}) const {
    return generate(plan_, prompt_, options, runtime);
  }
};

TEST_F(Generate, OneSeedIsOneTextAndAnotherSeedAnother) {
  const GenerateOptions options{.max_new_tokens = 24, .temperature = 1, .seed = 7};
  GenerateOptions other = options;
  other.seed = 8;
  EXPECT_EQ(run(options).size(), 24u);
  EXPECT_EQ(run(options), run(options));
  EXPECT_NE(run(options), run(other));
}

TEST_F(Generate, TheMostLikelyTokenIsWhatOneCandidateLeaves) {
  const std::vector<int32_t> greedy = run({.max_new_tokens = 24});
  EXPECT_EQ(run({.max_new_tokens = 24, .temperature = 5, .top_k = 1}), greedy);
  EXPECT_EQ(run({.max_new_tokens = 24, .temperature = 5, .top_p = 1e-9}), greedy);
  EXPECT_EQ(run({.max_new_tokens = 24, .temperature = 1e-9, .seed = 3}), greedy);
  EXPECT_NE(run({.max_new_tokens = 24, .temperature = 5, .top_k = 2}), greedy);
  EXPECT_EQ(run({.max_new_tokens = 24}, {.threads = 1, .memory = 1}), greedy);  // a layer at a time
}

TEST_F(Generate, DrawsFromTheLikeliest) {
  std::set<int32_t> drawn[3];
  for (uint64_t seed = 0; seed < 60; ++seed) {
    drawn[0].insert(run({.max_new_tokens = 1, .temperature = 3, .top_k = 3, .seed = seed}).front());
    drawn[1].insert(run({.max_new_tokens = 1, .temperature = 3, .top_p = 0.2, .seed = seed}).front());
    drawn[2].insert(run({.max_new_tokens = 1, .temperature = 3, .seed = seed}).front());
  }
  EXPECT_EQ(drawn[0].size(), 3u);
  EXPECT_GT(drawn[1].size(), 1u);
  EXPECT_LT(drawn[1].size(), drawn[2].size());
}

TEST_F(Generate, EndsAtTheEndOfTextOrWhenAsked) {
  const std::vector<int32_t> all = run({.max_new_tokens = 12, .temperature = 1});
  std::vector<int32_t> seen;
  const auto three = [&](int32_t token) {
    seen.push_back(token);
    return seen.size() < 3;
  };
  const auto ended = generate(plan_, prompt_, {.max_new_tokens = 12, .temperature = 1}, {.threads = 1}, three);
  EXPECT_EQ(ended, (std::vector<int32_t>(all.begin(), all.begin() + 3)));
  EXPECT_EQ(seen, ended);
  EXPECT_TRUE(run({.max_new_tokens = 0}).empty());

  Json config = testing::config_of({});
  config["eos_token_id"] = {39, all[4]};
  write_text(directory_ / "model/config.json", config.dump());
  plan_ = RewritePlan(Model::describe(Checkpoint::open(directory_ / "model")));
  const auto end = std::ranges::find_if(all, [&](int32_t token) { return token == 39 || token == all[4]; });
  EXPECT_EQ(run({.max_new_tokens = 12, .temperature = 1}), std::vector<int32_t>(all.begin(), end + 1));
}

TEST_F(Generate, SaysWhatItCannotDo) {
  const auto message = [&](const GenerateOptions& options) { return testing::message_of([&] { run(options); }); };
  const std::string sampling = "sampling: needs temperature >= 0, top_p > 0 and top_k >= 0";
  EXPECT_EQ(message({.temperature = -1}), sampling);
  EXPECT_EQ(message({.temperature = std::nan("")}), sampling);
  EXPECT_EQ(message({.top_k = -1}), sampling);
  EXPECT_EQ(message({.top_p = 0}), sampling);
  EXPECT_EQ(testing::message_of([&] { generate(plan_, {}, {}, {}); }), "prompt: is empty; give some text, or --bos");
}

}  // namespace
}  // namespace spinor::runtime::generate_test
