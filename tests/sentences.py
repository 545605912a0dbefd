"""300 sentences in 20 languages, each in many spellings that mean the same."""
import re
import unicodedata

# Five subjects; what follows them, good, bad and good again; and the end of the sentence.
_TEMPLATES = {
    "Vietnamese": (["Quán phở này", "Giờ học", "Món ăn", "Thầy giáo", "Bộ phim ấy"],
                   [" rất tuyệt vời", " thật dở tệ", " đáng khen ngợi"], "!"),
    "Czech": (["Ten film", "Příběh", "Třetí díl", "Náš učitel", "Žluťoučký kůň"],
              [" je skvělý", " je příšerně špatný", " byl úžasný"], "…"),
    "Polish": (["Ten żółw", "Jeździec", "Książę", "Pięćdziesiąty utwór", "Źródło"],
               [" jest świetny", " był zły i męczący", " brzmi piękniej niż wczoraj"], "."),
    "Russian": (["Этот фильм", "Ёжик", "Мой учитель", "Йогурт", "Съёмка №7"],
                [" замечательный", " очень плохой", " всё ещё хороший"], "!"),
    "Ukrainian": (["Цей фільм", "Її їжак", "Мій учитель", "Об’єкт", "Ґанок"],
                  [" чудовий", " дуже поганий", " ще й який гарний"], "."),
    "Greek": (["Ο ΦΙΛΟΣ ΜΑΣ", "Ο δάσκαλος", "Αυτός ο Οδυσσέας", "Ὁ ᾠδός", "Ο ρυθμός"],
              [" είναι υπέροχος", " είναι κακός", " ήταν εξαιρετικός"], ";"),
    "Korean": (["이 영화는", "우리 선생님은", "그 음식은", "값싼 책은", "읽은 글은"],
               [" 정말 좋았습니다", " 너무 나빴어요", " 훌륭했다"], "."),
    "Japanese": (["この映画は", "ガラスの靴が", "パンダが", "先生は", "ドラゴンボールは"],
                 ["とても素晴らしかった", "ひどくつまらないデス", "ずっと大好きだ"], "！"),
    "Chinese": (["这部电影", "那位老师", "這間餐廳", "我的书", "ＡＢＣ公司"],
                ["非常好", "太差了", "值得推荐"], "。"),
    "French": (["Le cœur du héros", "L’été", "Cet élève", "Le garçon", "Noël"],
               [" était très réussi", " a été gâché", " m'a plu : à voir"], "\u00a0!"),
    "German": (["Die Straße", "Das Mädchen", "Der Käse", "Ihr Ölgemälde", "Die Übung"],
               [" ist großartig", " ist ganz übel", " fand ich schön"], "."),
    "Spanish": (["El niño", "La canción", "Aquel pingüino", "El 1º capítulo", "Mi corazón"],
                [" me encantó", " salió fatal, señor", " está muy bien"], "!"),
    "Turkish": (["İstanbul", "IŞIK", "Öğretmen", "Bu çiçek", "Güneş"],
                [" çok güzel", " hiç iyi değil", " gerçekten müthiş"], "."),
    "Hungarian": (["Az őrült űrhajós", "A könyv", "Ez az étel", "A tanárnő", "Gyűrűk ura"],
                  [" nagyszerű", " rosszabb a vártnál", " kitűnő"], "!"),
    "Hindi": (["यह फ़िल्म", "हमारे शिक्षक", "वह लड़का", "ज़िंदगी", "किताब"],
              [" बहुत अच्छी है", " बहुत बुरी है", " शानदार है"], "।"),
    "Bengali": (["এই ছবিটি", "আমার গোলাপ", "বড়ো বাড়ি", "শিক্ষক", "সময়"],
                [" খুব ভালো", " একদম বাজে", " চমৎকার"], "।"),
    "Thai": (["หนังเรื่องนี้", "คุณครู", "น้ำแข็ง", "อาหาร", "เพลง"],
             [" ดีมาก", " แย่ที่สุด", " ยอดเยี่ยมจริงๆ"], ""),
    "Arabic": (["هذا الفيلم", "المُعَلِّمُ", "الآن الأُسْتاذ", "المؤلف", "ﷲ والكتاب"],
               [" رائع جدًّا", " سيّئ للغاية", " جميلٌ"], "؟"),
    "Persian": (["این فیلم", "کتاب\u200cها", "معلّم", "آموزگار", "غذا"],
                [" خیلی خوب است", " بد بود", " را دوست می\u200cدارم"], "."),
    "English": (["The ﬁlm", "It’s what they say", "A naïve café", "Chapter Ⅳ at 25℃", "½ of 👩‍🎓"],
                [" isn't bad, it's ﬁne", " doesn't work", " was x² better ❤️"], "."),
}

SENTENCES = {language: [subject + rest + end for subject in subjects for rest in rests]
             for language, (subjects, rests, end) in _TEMPLATES.items()}
LABELS = ["bad" if number % 3 == 1 else "good" for number in range(15)] * len(SENTENCES)


def spellings(sentence):
    """{name: the sentence written otherwise}; each has to give the same tokens."""
    decomposed = unicodedata.normalize("NFD", sentence)
    return {
        **{form: unicodedata.normalize(form, sentence) for form in ("NFC", "NFD", "NFKC", "NFKD")},
        "byte-order mark": f"\ufeff{sentence}", "line ends": sentence.replace(" ", "\r\n") + "\r\n",
        "spaces": sentence.replace(" ", "\u3000\u2028\t"),
        "zero-width": "\u200b".join(sentence), "joiners": "\u200d\u200c".join(decomposed),
        "soft hyphens": "\u00ad\u2060".join(decomposed),
        "grapheme joiners": re.sub(r"(\w)", "\\1\u034f", decomposed),
        "variation selectors": re.sub(r"(\w)", "\\1\ufe0f", sentence)}
