//! Word lists of the content filters, small and plain. Two levels: what leaves no doubt, and what may be meant otherwise.
use std::sync::LazyLock;

use regex::Regex;

use super::policy::ContentType;

fn phrases(list: &[&str]) -> Option<Regex> {
    Regex::new(&format!(r"\b(?:{})\b", list.join("|"))).ok()
}

type Levels = [Option<Regex>; 2];

pub(super) fn patterns(kind: ContentType) -> &'static Levels {
    match kind {
        ContentType::Hate => &HATE,
        ContentType::Insults => &INSULTS,
        ContentType::Sexual => &SEXUAL,
        ContentType::Violence => &VIOLENCE,
        ContentType::Misconduct => &MISCONDUCT,
        ContentType::PromptAttack => &NOTHING,
    }
}

static NOTHING: Levels = [None, None];

static HATE: LazyLock<Levels> = LazyLock::new(|| {
    [
        phrases(&[
            r"(?:all|those|these) (?:jews|muslims|christians|blacks|whites|gays|immigrants|foreigners|women|men) (?:should|must|deserve to) (?:die|be (?:killed|deported|gassed))",
            "ethnic cleansing is",
            "white power",
            "heil hitler",
            "master race",
            "gas the",
            r"(?:subhuman|inferior) (?:race|people|vermin)",
        ]),
        phrases(&[
            r"i hate (?:jews|muslims|christians|blacks|whites|gays|immigrants|foreigners|women|men)",
            "go back to your country",
            "subhumans?",
        ]),
    ]
});

static INSULTS: LazyLock<Levels> = LazyLock::new(|| {
    [
        phrases(&[
            "worthless piece of",
            "kill yourself",
            "you(?:'re| are) (?:a )?(?:pathetic|disgusting|worthless)",
        ]),
        phrases(&[
            "idiots?",
            "morons?",
            "imbeciles?",
            "stupid",
            "losers?",
            "dumbass",
            "shut up",
            "scumbags?",
        ]),
    ]
});

static SEXUAL: LazyLock<Levels> = LazyLock::new(|| {
    [
        phrases(&[
            "porn",
            "pornograph(?:y|ic)",
            "sex(?:ual)? acts?",
            "explicit sex",
            "nude (?:pictures?|photos?|pics)",
            "erotica?",
            "blowjobs?",
            "masturbat(?:e|ion|ing)",
            "have sex with",
        ]),
        phrases(&[
            "nudes?",
            "naked",
            "sexy",
            "horny",
            "orgasms?",
            "fetish(?:es)?",
        ]),
    ]
});

static VIOLENCE: LazyLock<Levels> = LazyLock::new(|| {
    [
        phrases(&[
            r"(?:kill|murder|stab|strangle|torture|shoot|behead) (?:you|him|her|them|someone|somebody|people|my|his|a (?:person|man|woman|child))",
            "mass shooting",
            "how to (?:kill|murder|poison|torture)",
            "massacre (?:of|the)",
        ]),
        phrases(&[
            "murder(?:ed|ing)?",
            "bloodbath",
            "beat (?:him|her|them|you) up",
            "slaughter",
            "stabb(?:ed|ing)",
            "torture[ds]?",
        ]),
    ]
});

static MISCONDUCT: LazyLock<Levels> = LazyLock::new(|| {
    [
        phrases(&[
            r"(?:build|make|making|building|construct) (?:a |an )?(?:pipe )?(?:bombs?|explosives?)",
            r"(?:cook|synthesi[sz]e|make) (?:meth|methamphetamine|heroin|cocaine)",
            r"launder(?:ing)? money",
            "buy (?:a )?stolen (?:credit )?cards?",
            r"hack into (?:my|his|her|their|a|an|the|someone's)",
            "forge (?:a )?(?:passport|signature|prescription)",
            "steal (?:a |an |the )?(?:car|identity|credit cards?|money|passwords?)",
        ]),
        phrases(&[
            "shoplift(?:ing)?",
            "ransomware for",
            "counterfeit money",
            "evade taxes",
            "fake (?:id|passport)",
            "pick a lock",
        ]),
    ]
});

const BEFORE: &str = r"(?:previous|prior|above|earlier|preceding|former|existing|original|system|your|safety|my last)";
const RULES: &str = r"(?:instructions?|prompts?|rules?|directions?|guidelines?|directives?|commands?|context|messages?|restrictions?|policies|constraints)";

/// What leaves no doubt: overriding instructions, asking for the hidden prompt, taking another role without rules,
/// forged turns of a conversation.
pub(super) static ATTACK_GRAVE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let all = r"(?:(?:any|all|everything|each|every|of|the|these|those|and|or|other|what) )*";
    let list = [
        format!(r"(?:ignore|disregard|forget|override|bypass|overrule|discard|neglect) {all}(?:{BEFORE}(?:,? | and | or )){{1,3}}(?:\w+ ){{0,2}}{RULES}"),
        r"(?:ignore|disregard|forget) (?:all |everything )(?:of )?(?:the )?(?:above|you (?:were|have been) (?:told|taught|given))".to_owned(),
        format!(r"(?:do not|don't|stop|no longer) (?:follow|obey|following|obeying) {all}(?:{BEFORE} ){{1,2}}{RULES}"),
        r"(?:reveal|show|print|repeat|output|tell me|display|give me|leak|dump|recite|send) (?:me )?(?:verbatim )?(?:your|the) (?:(?:entire|full|hidden|secret|initial|original|exact|internal|confidential) )*(?:system )?(?:prompt|instructions)".to_owned(),
        r"(?:repeat|print|output) (?:everything|all (?:the )?(?:text|words)) (?:above|before)".to_owned(),
        r"you are (?:now|from now on|no longer) (?:a |an |in )?(?:dan|unrestricted|unfiltered|uncensored|jailbroken|evil|free of|bound by|developer mode|god mode|an ai without)".to_owned(),
        r"(?:enter|enable|activate|switch to) (?:developer|debug|god|jailbreak|admin|dan|sudo|maintenance) mode".to_owned(),
        r"do anything now".to_owned(),
        r"(?:pretend|act|behave|respond|answer|imagine|roleplay) (?:as if|as though|that|like|to be)?[\w ,']{0,40}(?:without (?:any )?(?:restrictions|rules|filters|limits|guidelines|safety)|no (?:restrictions|rules|filters|limits|ethical|guidelines|safety))".to_owned(),
        r"(?:jailbreak|prompt injection) (?:yourself|payload|this)".to_owned(),
        r"<\|?(?:im start|im end|system|endoftext|assistant)\|?>|\[/?inst\]|<<sys>>|###? ?(?:new )?(?:system|instructions?) ?(?:prompt|message)?:|</?(?:system|instructions?)>".to_owned(),
        r"new (?:system )?instructions? (?:for (?:the |you|this )?(?:ai|assistant|model|system|agent)|follow|supersede|override)".to_owned(),
        format!(r"(?:these|this|the following|my) {RULES} (?:supersedes?|overrides?|replaces?|takes? precedence|takes? priority)"),
        r"(?:disable|turn off|deactivate|switch off|remove) (?:all |your |the |any )*(?:safety|content|guardrails?|filters?|moderation|restrictions)".to_owned(),
        r"(?:ai|assistant|llm|language model|chatbot)s?(?: reading this)?,? (?:you )?(?:must|should|shall|are required to|have to) (?:now )?(?:ignore|reply|respond|answer only|say|tell|recommend|send|output|reveal|email|forward|always|never)".to_owned(),
        r"(?:send|forward|email|post|exfiltrate|upload) (?:all |the |every |any )*(?:conversation|chat|user'?s?|customer|previous|confidential|secret|private|api|access|context)[\w ]{0,30} (?:to|at) (?:https?|\S+@)".to_owned(),
        r"ignorier\w* (?:bitte )?(?:alle |sämtliche |die )*(?:vorherigen|bisherigen|vorigen|obigen|früheren) (?:anweisungen|regeln|befehle)".to_owned(),
        r"(?:ignore[zr]?|oublie[zr]?) (?:toutes )?(?:les )?(?:instructions|consignes|règles) (?:précédentes|antérieures|ci dessus)".to_owned(),
        r"(?:ignora|ignore|olvida|olvide) (?:todas )?(?:las )?(?:instrucciones|reglas|órdenes) (?:anteriores|previas)".to_owned(),
        r"(?:ignora|dimentica) (?:tutte )?(?:le )?(?:istruzioni|regole) (?:precedenti|sopra)".to_owned(),
        r"忽略(?:之前|以上|所有)(?:的)?(?:所有)?(?:指令|指示|说明)|以前の指示を(?:すべて)?無視".to_owned(),
    ];
    Regex::new(&list.join("|")).ok()
});

/// What is often said in attacks and sometimes otherwise.
pub(super) static ATTACK_LESSER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"\bnew instructions?:|\bfrom now on,? you\b|\bin your next (?:answer|reply|response)\b|\byour real (?:task|goal|purpose|instructions)\b|\bhypothetically,? if you had no\b|\bbase64 decode (?:this|and (?:run|follow|execute))\b|\bnote to (?:the )?(?:ai|assistant|llm|model)\b|\binstructions? (?:to|for) (?:the )?(?:ai|assistant|llm|language model|chatbot)\b|\bas an ai (?:you|that) (?:must|has no)\b",
    )
    .ok()
});

/// The managed list PROFANITY; as it stands in a text, any case.
pub(super) static PROFANITY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:(?:mother)?fuck(?:s|ed|er|ers|ing)?|shit(?:s|ty)?|bullshit|assholes?|bitch(?:es)?|bastards?|cunts?|dickheads?|wank(?:er|ers)|piss(?:ed)? off)\b").ok()
});
