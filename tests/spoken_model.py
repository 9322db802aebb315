"""Gives a tiny model a tokenizer: a byte-level BPE of 400 tokens, <unk>, <s> and </s> the first three."""

import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = [
    "One day the miller said to his son: the wheel has stopped, and there is no water in the brook.",
    "They went up the hill, the old man first, and the boy behind him with the dog and the lantern.",
    "for i in range(10): print(i * i, end=', ')",
    "Über die Brücke gehen, über alles reden, und im Winter am Ofen sitzen.",
]


def speak(directory):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return directory
