#include "spinor/io/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "spinor/io/testing.h"

namespace spinor::checkpoint_test {
namespace {

namespace fs = std::filesystem;
using testing::message_of;
using testing::TemporaryDirectory;
using testing::write_safetensors;

TensorInfo tensor(std::string name) {
  return {.name = std::move(name), .dtype = DType::BF16, .shape = {2, 3}};
}

// a and b in one shard, c in the other; and what belongs to a model beside its weights.
class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() {
    write_text(directory_ / "config.json", R"({"architectures": ["LlamaForCausalLM"]})");
    write_safetensors(directory_ / "model-1.safetensors", {tensor("a"), tensor("b")});
    write_safetensors(directory_ / "model-2.safetensors", {tensor("c")});
    write_index({{"a", "model-1.safetensors"}, {"b", "model-1.safetensors"}, {"c", "model-2.safetensors"}});
  }
  void write_index(const Json& weight_map) {
    write_text(directory_ / "model.safetensors.index.json",
               Json{{"metadata", {{"total_size", 1.5}}}, {"weight_map", weight_map}}.dump());
  }
  void touch(const fs::path& relative) {
    fs::create_directories((directory_.path() / relative).parent_path());
    std::ofstream(directory_.path() / relative) << "x";
  }
  std::string refusal() {
    return message_of([&] { Checkpoint::open(directory_.path()); }, directory_.path());
  }
  // The same, with what follows the name of the directory itself.
  std::string directory_refusal() {
    const std::string message = refusal(), name = directory_.path().string();
    return message.starts_with(name) ? message.substr(name.size()) : message;
  }

  TemporaryDirectory directory_;
};

TEST_F(CheckpointTest, ShardsAreJoined) {
  const Checkpoint checkpoint = Checkpoint::open(directory_.path());
  EXPECT_EQ(checkpoint.tensors().size(), 3u);
  EXPECT_EQ(checkpoint.shards().size(), 2u);
  EXPECT_EQ(checkpoint.at("c").file, 1);
  EXPECT_EQ(checkpoint.find("d"), nullptr);
  EXPECT_EQ(checkpoint.config()["architectures"][0], "LlamaForCausalLM");
  EXPECT_EQ(message_of([&] { checkpoint.at("d"); }), "d: no such tensor in " + directory_.path().string());
}

TEST_F(CheckpointTest, TensorBytesAreThoseOfTheFile) {
  const Checkpoint checkpoint = Checkpoint::open(directory_.path());
  const CheckpointTensor& b = checkpoint.at("b");
  const std::vector<std::byte> all = checkpoint.read(b);
  ASSERT_EQ(all.size(), 12u);
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(std::to_integer<int>(all[i]), (b.info.begin + static_cast<int64_t>(i)) % 251);
  std::vector<std::byte> part(5);
  checkpoint.read(b, 7, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 7));
  EXPECT_EQ(message_of([&] { checkpoint.read(b, 8, part); }), "b: bytes [8, 13) are not among its 12");
}

TEST_F(CheckpointTest, OneFileNeedsNoIndex) {
  fs::remove(directory_ / "model.safetensors.index.json");
  write_safetensors(directory_ / "model.safetensors", {tensor("a")});
  const Checkpoint checkpoint = Checkpoint::open(directory_.path());
  EXPECT_EQ(checkpoint.tensors().size(), 1u);
}

TEST_F(CheckpointTest, LinksIntoTheHuggingFaceCacheAreFollowed) {
  const TemporaryDirectory blobs;
  fs::rename(directory_ / "model-1.safetensors", blobs / "1234");
  fs::create_symlink(fs::relative(blobs / "1234", directory_.path()), directory_ / "model-1.safetensors");
  EXPECT_EQ(refusal(), "");
}

TEST_F(CheckpointTest, ShardNamesOutsideTheDirectoryAreRefused) {
  for (const std::string name : {"../model-1.safetensors", "/etc/model.safetensors", "x/../../model-1.safetensors"}) {
    write_index({{"a", name}});
    EXPECT_EQ(refusal(), "model.safetensors.index.json: a: shard '" + name + "' lies outside the directory");
  }
  for (const std::string name : {"./model-1.safetensors", "x//y.safetensors", "", "x/"}) {
    write_index({{"a", name}});
    EXPECT_EQ(refusal(), "model.safetensors.index.json: a: shard '" + name + "' is not a plain file name");
  }
  write_index({{"a", std::string("model-1.safetensors\0.safetensors", 32)}});
  EXPECT_NE(refusal(), "");
  write_index({{"a", "model.bin"}});
  EXPECT_EQ(refusal(), "model.safetensors.index.json: a: shard 'model.bin' is not a safetensors file");
  write_index({{"a", std::string(300, 'x') + ".safetensors"}});
  EXPECT_EQ(refusal(), std::string(300, 'x') + ".safetensors: not accessible: File name too long");
}

TEST_F(CheckpointTest, MissingShardsAreNamed) {
  fs::remove(directory_ / "model-2.safetensors");
  EXPECT_EQ(
      refusal(),
      "model.safetensors.index.json: shard model-2.safetensors does not exist; download or copy the missing file");
}

TEST_F(CheckpointTest, TensorsMissingFromTheirShardAreNamed) {
  write_index({{"a", "model-1.safetensors"},
               {"b", "model-1.safetensors"},
               {"c", "model-2.safetensors"},
               {"d", "model-2.safetensors"}});
  EXPECT_EQ(refusal(), "model.safetensors.index.json: d is not in model-2.safetensors, where it should be");
}

TEST_F(CheckpointTest, WhatTheIndexDoesNotNameIsNotRead) {
  write_index({{"a", "model-1.safetensors"}, {"c", "model-2.safetensors"}});
  const Checkpoint checkpoint = Checkpoint::open(directory_.path());
  EXPECT_EQ(checkpoint.tensors().size(), 2u);
  EXPECT_EQ(checkpoint.find("b"), nullptr);
  EXPECT_EQ(checkpoint.unnamed(), (std::map<std::string, std::string>{{"b", "model-1.safetensors"}}));
  EXPECT_EQ(message_of([&] { checkpoint.at("b"); }),
            "b: no such tensor in " + directory_.path().string() +
                "; model-1.safetensors has it, but model.safetensors.index.json does not name it: add it to weight_map "
                "there");
  EXPECT_EQ(checkpoint.hint_for_missing("d", "download it"), "download it");
}

TEST_F(CheckpointTest, OfATensorInTwoShardsTheLastIsRead) {
  write_safetensors(directory_ / "model-2.safetensors", {tensor("b"), tensor("c")});
  write_index({{"a", "model-1.safetensors"}, {"b", "model-2.safetensors"}, {"c", "model-2.safetensors"}});
  const Checkpoint checkpoint = Checkpoint::open(directory_.path());
  EXPECT_EQ(checkpoint.tensors().size(), 3u);
  EXPECT_EQ(checkpoint.at("b").file, 1);
  EXPECT_TRUE(checkpoint.unnamed().empty());
}

TEST_F(CheckpointTest, OfATensorInTwoShardsTheIndexMustSayTheLast) {
  write_safetensors(directory_ / "model-2.safetensors", {tensor("b"), tensor("c")});
  EXPECT_EQ(
      refusal(),
      "model-2.safetensors: b is in the file, but model.safetensors.index.json says it is in model-1.safetensors; "
      "delete it from one of them, or let the index say model-2.safetensors: transformers loads the last");
}

TEST_F(CheckpointTest, TruncatedShardsAreNamed) {
  fs::resize_file(directory_ / "model-2.safetensors", fs::file_size(directory_ / "model-2.safetensors") - 1);
  EXPECT_EQ(
      refusal(),
      "model-2.safetensors: c: data_offsets [0,12] reach beyond the 11 bytes of tensors in the file; the file may "
      "be truncated: download or copy it again");
}

TEST_F(CheckpointTest, IndexesWithoutAWeightMapAreRefused) {
  const auto with_index = [&](std::string_view text) {
    write_text(directory_ / "model.safetensors.index.json", text);
    return refusal();
  };
  const std::string index = "model.safetensors.index.json: ";
  EXPECT_EQ(with_index("[]"), index + "has no weight_map");
  EXPECT_EQ(with_index("{}"), index + "has no weight_map");
  EXPECT_EQ(with_index(R"({"weight_map": {}})"), index + "weight_map is not an object with tensor names");
  EXPECT_EQ(with_index(R"({"weight_map": {"a": 1}})"), index + "a: shard 1 is not a string");
  EXPECT_NE(with_index(R"({"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}})"), "");
  EXPECT_NE(with_index(""), "");
}

TEST_F(CheckpointTest, TwoSetsOfWeightsAreRefused) {
  write_safetensors(directory_ / "model.safetensors", {tensor("a")});
  EXPECT_EQ(directory_refusal(),
            ": has both model.safetensors and model.safetensors.index.json; delete the one that does not belong to the "
            "model");
  write_index({{"a", "model.safetensors"}});
  EXPECT_EQ(refusal(), "");
}

TEST_F(CheckpointTest, AMissingConfigIsNamed) {
  fs::remove(directory_ / "config.json");
  EXPECT_EQ(directory_refusal(), ": has no config.json; give a directory as save_pretrained writes it");
}

TEST_F(CheckpointTest, AConfigThatIsNoObjectIsRefused) {
  write_text(directory_ / "config.json", "[]");
  EXPECT_EQ(refusal(), "config.json: is not an object");
  write_text(directory_ / "config.json", "{\"a\": 1");
  EXPECT_EQ(refusal().substr(0, 14), "config.json:1:");
}

TEST_F(CheckpointTest, WeightsInOtherFormatsAreNamed) {
  for (const char* file : {"model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"})
    fs::remove(directory_ / file);
  const std::string neither = ": has neither model.safetensors nor model.safetensors.index.json";
  EXPECT_EQ(directory_refusal(), neither + "; give a directory as save_pretrained writes it");
  touch("pytorch_model.bin");
  EXPECT_EQ(directory_refusal(), neither +
                                     ", only pytorch_model.bin; convert it to safetensors: load it with transformers, "
                                     "then save_pretrained");
  touch("adapter_model.safetensors");
  EXPECT_EQ(directory_refusal(), neither + ", only an adapter; merge the adapter into its model first");
}

TEST_F(CheckpointTest, PathsThatAreNoDirectoryAreRefused) {
  EXPECT_EQ(message_of([&] { Checkpoint::open(directory_ / "none"); }, directory_.path()), "none: no such directory");
  EXPECT_EQ(message_of([&] { Checkpoint::open(directory_ / "config.json"); }, directory_.path()),
            "config.json: is not a directory; give the directory that holds config.json and the weights");
}

TEST_F(CheckpointTest, OtherFilesAreCarriedAlong) {
  for (const char* file :
       {"tokenizer.json", "tokenizer.model", "chat_template.jinja", "generation_config.json", "modeling_x.py",
        "code/deep/attention.py", "code/config.json", "README.md", "additional_chat_templates/tool.jinja",
        // and these are not:
        "pytorch_model.bin", "pytorch_model.bin.index.json", "model.gguf", "original/consolidated.00.pth", "x.onnx",
        "x.h5", "flax_model.msgpack", "consolidated.safetensors", "recipe.yaml", "spinor.json", ".gitattributes",
        ".cache/huggingface/x.json", "code/.hidden"})
    touch(file);
  fs::create_directory_symlink("..", directory_ / "loop");
  std::vector<std::string> files;
  for (const fs::path& file : Checkpoint::open(directory_.path()).other_files()) files.push_back(file.string());
  EXPECT_EQ(files, (std::vector<std::string>{"README.md", "additional_chat_templates/tool.jinja", "chat_template.jinja",
                                             "code/config.json", "code/deep/attention.py", "generation_config.json",
                                             "modeling_x.py", "tokenizer.json", "tokenizer.model"}));
}

TEST_F(CheckpointTest, DanglingLinksAreNotSilentlyLeftOut) {
  fs::create_symlink("nowhere", directory_ / "tokenizer.json");
  const Checkpoint checkpoint = Checkpoint::open(directory_.path());
  EXPECT_EQ(message_of([&] { checkpoint.other_files(); }, directory_.path()),
            "tokenizer.json: is a symbolic link to a missing file; download it again or delete it");
}

}  // namespace
}  // namespace spinor::checkpoint_test
