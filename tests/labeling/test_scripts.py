"""Labels of texts whose script has no spaces: latents that fire on three topics, in three languages and mixed."""

from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from featurehub.records import Labeled
from labeling import Corpus, label_latents


class Language(NamedTuple):
    """Begins and ends of sentences, and the words of each topic, the name first."""

    begins: tuple[str, ...]
    ends: tuple[str, ...]
    topics: tuple[tuple[str, ...], ...]
    stop: str = "。"


CHINESE = Language(
    ("今天我去了", "昨天他谈到了", "后来大家看见", "那时候老师问起", "听说附近有新的", "这个月老板写了一篇关于"),
    ("然后回家了", "但是没有说什么", "所以很高兴", "而且还下着雨", "结果大家都笑了"),
    (("银行", "贷款", "利息"), ("医院", "药品", "病人"), ("足球", "比赛", "进球")),
)
JAPANESE = Language(
    ("今日は友達と", "昨日は先生が", "駅の近くで", "みんなで新しい", "夕方になって"),
    ("について話した", "のことを聞いた", "を見て帰った", "が好きだと言った"),
    (("銀行", "融資", "利息"), ("サッカー", "試合", "選手"), ("天気", "台風", "大雨")),
)
THAI = Language(
    ("วันนี้ฉันไปที่", "เมื่อวานเขาพูดถึง", "ครูถามเรื่อง", "เพื่อนของเราชอบ", "ตอนเย็นทุกคนเห็น"),
    ("แล้วกลับบ้าน", "แต่ไม่พูดอะไร", "จึงดีใจมาก", "และฝนก็ตก"),
    (("เงินกู้", "ดอกเบี้ย", "บัญชี"), ("หมอ", "ผู้ป่วย", "พยาบาล"), ("กีฬา", "ประตู", "นักเตะ")),
    "\n",
)
MIXED = Language(
    ("今天 we went to ", "昨天他谈到了 the ", "last week 大家看见 ", "听说 there is 新的 "),
    (" 然后回家了", " and nobody 说什么", " so 很高兴", " but it 下着雨"),
    (("银行", "loan", "利息"), ("hospital", "药品", "病人"), ("足球", "match", "进球")),
)


def planted(language: Language, seed: int = 0) -> Corpus:
    """400 texts, a character per token; a topic's latent fires on its words, of which every sentence has the first."""
    draw = Random(seed)
    documents, rows, offsets = [], [], [0]
    for _ in range(400):
        topic = draw.randrange(3)
        name, *others = language.topics[topic]
        pieces: list[tuple[str, bool]] = []
        for _ in range(4):
            for text, fires in (
                (draw.choice(language.begins), False), (name, True), (draw.choice(language.ends), False),
                (draw.choice(others) if draw.random() < 0.6 else "", True), (language.stop, False),
            ):  # fmt: skip
                pieces += [(character, fires) for character in text]
        fires = np.zeros((len(pieces), 3), np.float32)
        fires[[at for at, (_, on) in enumerate(pieces) if on], topic] = 1.0
        documents.append([character for character, _ in pieces])
        rows.append(fires)
        offsets.append(offsets[-1] + len(pieces))
    return Corpus(documents, csr_matrix(np.concatenate(rows)), np.array(offsets))


@pytest.mark.parametrize("language", [CHINESE, JAPANESE, MIXED, THAI], ids=["Chinese", "Japanese", "mixed", "Thai"])
def test_a_topic_gets_its_name(language: Language) -> None:
    for found, words in zip(label_latents(planted(language)), language.topics, strict=True):
        assert isinstance(found.outcome, Labeled)
        assert found.outcome.score == pytest.approx(1.0)
        assert found.outcome.label.name == words[0]
