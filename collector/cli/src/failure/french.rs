//! The collector's codes in French. Its documents have the English texts.

/// Title of a problem.
pub(super) fn title(code: &str) -> Option<&'static str> {
    Some(match code {
        "unauthorised" => "un jeton valide est nécessaire",
        "bad-question" => "la question n'a pas de sens",
        "not-found" => "introuvable",
        "no-route" => "cette adresse n'existe pas sur le collecteur",
        "method" => "cette adresse n'a pas cette méthode",
        "conflict" => "existe déjà",
        "too-large" => "trop gros (10 Mio au plus)",
        "media-type" => "type de contenu refusé",
        "invalid" => "des fautes, rien n'a été gardé",
        "busy" => "le collecteur est trop occupé",
        "timed-out" => "la réponse a pris trop de temps",
        "unavailable" => "la base du collecteur est indisponible",
        "internal" => "le collecteur a échoué",
        _ => return None,
    })
}

/// What does not exist, or exists already: its first word tells what it is.
pub(super) fn thing(found: &str) -> String {
    let (what, key) = found.split_once(' ').unwrap_or((found, ""));
    let what = match what {
        "series" => "série",
        "target" => "cible",
        "group" => "groupe",
        "certificate" => "certificat",
        "lane" => "file",
        "mail" => "courriel",
        // `site` and `agent` are French too.
        other => other,
    };
    format!("{what} {key}").trim_end().to_owned()
}

/// A fault, by its code.
pub(super) fn fault(code: &str, found: Option<&str>, expected: Option<&str>) -> Option<String> {
    of_file(code, found, expected)
        .or_else(|| of_target(code, found, expected))
        .or_else(|| of_question(code, found, expected))
}

/// Faults of a file of sites, and of a site or a contractor as typed.
fn of_file(code: &str, found: Option<&str>, expected: Option<&str>) -> Option<String> {
    let expected = expected.unwrap_or("?");
    if code == "unknown-code" && found.is_none() {
        return Some(format!("attendu : {expected}"));
    }
    let found = found.unwrap_or("?");
    let text = match code {
        "file-too-large" => "le fichier dépasse 10 Mio",
        "too-many-lines" => "le fichier dépasse 100 000 lignes",
        "line-too-long" => "la ligne dépasse 64 Kio",
        "utf-16" => "le fichier est en UTF-16 : enregistrez-le en UTF-8",
        "not-utf-8" => {
            return Some(format!(
                "le fichier n'est pas en UTF-8 (octet {found} de la ligne) : enregistrez-le en UTF-8"
            ));
        }
        "empty" => "le fichier ne nomme aucun site",
        "unknown-column" => {
            return Some(format!("colonne inconnue « {found} » ; attendu : {expected}"));
        }
        "column-twice" => "la colonne y est deux fois",
        "column-missing" => "la colonne manque",
        "open-quote" => "un guillemet est ouvert et jamais fermé",
        "stray-quote" => {
            "un guillemet au milieu d'une cellule : mettez la cellule entre guillemets et doublez-le"
        }
        "cell-count" => {
            return Some(format!("la ligne a {found} cellules, l'en-tête en a {expected}"));
        }
        "empty-cell" => "la cellule est vide",
        "text-too-long" => return Some(format!("le texte dépasse {expected} caractères")),
        "control-character" => "le texte contient un caractère de contrôle",
        "uai-shape" => "un UAI est sept chiffres et une lettre, comme 0999001W",
        "uai-key" => {
            return Some(format!("la lettre clé de l'UAI doit être {expected}, pas {found}"));
        }
        "uai-twice" => return Some(format!("cet UAI est déjà à la ligne {found}")),
        "unknown-code" => {
            return Some(format!("valeur inconnue « {found} » ; attendu : {expected}"));
        }
        "number" => return Some(format!("« {found} » n'est pas un nombre de {expected}")),
        "half-position" => "latitude et longitude vont ensemble",
        "email" => "une seule adresse de courriel est attendue, comme a@example.fr",
        _ => return None,
    };
    Some(text.to_owned())
}

/// Faults of a target.
fn of_target(code: &str, found: Option<&str>, expected: Option<&str>) -> Option<String> {
    let expected = expected.unwrap_or("?");
    let text = match code {
        "full" => return Some(format!("le site en a déjà {expected}, le plus qu'il peut avoir")),
        "plan-size" => {
            let (count, what) = found.unwrap_or("?").split_once(' ').unwrap_or(("?", ""));
            let what = match what {
                "bytes" => "octets",
                "groups" => "groupes",
                "series" => "séries",
                other => other,
            };
            return Some(format!(
                "l'agent du site aurait {count} {what} de plan, {expected} au plus : retirez des \
                 cibles, ou raccourcissez des URL"
            ));
        }
        "rung" => {
            "cette cible est un échelon du site : elle suit ce que l'agent voit et ce que la \
             configuration du collecteur nomme"
        }
        "pair" => "c'est une paire du maillage : retirez-en l'un des deux sites",
        "parent" => "aucune cible de ce site n'a ce numéro",
        "not-of-method" => return Some(format!("seulement avec la sonde {expected}")),
        "dns-name" => "un nom DNS est attendu",
        "community" => {
            return Some(format!("une communauté de 1 à {expected} octets est attendue"));
        }
        "target-name" => {
            return Some(format!("1 à {expected} caractères imprimables sont attendus"));
        }
        "ip-address" => "une adresse IP est attendue",
        "unspecified-address" => "cette adresse n'est celle d'aucune machine",
        "not-one-machine" => {
            "l'adresse d'une seule machine est attendue, ni multicast ni broadcast"
        }
        "mapped-address" => "écrivez l'adresse IPv4 elle-même",
        "port-zero" => "0 n'est pas un port",
        "host-port" => "hôte:port est attendu",
        "url" => "http://hôte/... ou https://hôte/... est attendu",
        "url-text" => "2000 caractères ASCII imprimables au plus sont attendus",
        "url-credentials" => "une URL avec un mot de passe le montrerait à tous",
        _ => return None,
    };
    Some(text.to_owned())
}

/// Faults of a question.
fn of_question(code: &str, found: Option<&str>, expected: Option<&str>) -> Option<String> {
    let (found, expected) = (found.unwrap_or("?"), expected.unwrap_or("?"));
    let text = match code {
        "not-pairs" => "des paires clé=valeur en UTF-8 sont attendues",
        "too-many-keys" => return Some(format!("plus de {expected} clés")),
        "key-twice" => "cette clé y est deux fois",
        "unknown-key" => "cette question n'a pas cette clé",
        "too-many-bytes" => return Some(format!("plus de {expected} octets")),
        "not-a-number" => "un nombre est attendu",
        "not-true-or-false" => "true ou false est attendu",
        "body-cut" => "le contenu s'arrête trop tôt",
        // What is found there is the words of a parser.
        "body-shape" => return Some(format!("le contenu n'a pas la forme attendue ({found})")),
        "agent-id" => "un numéro d'agent est 32 chiffres hexadécimaux",
        "cursor" => "ce n'est pas une clé que « next » a donnée",
        "instant" => "attendu : RFC 3339 (2026-11-23T14:38:00Z), now, ou -30m, -24h, -7d",
        "too-far-back" => "trop loin dans le passé",
        "empty-stretch" => return Some(format!("{found} n'est pas avant {expected}")),
        "stretch-too-long" => {
            return Some(format!(
                "au pas {found}, {expected} heures au plus : un --from plus tardif, ou un --step plus large"
            ));
        }
        "unknown-metric" => return Some(format!("métrique inconnue ; attendu : {expected}")),
        "metric-needed" => "il en faut une, comme if_hc_in_octets",
        "raw-aggregate" => "les échantillons bruts n'en ont pas : sans, ou avec un --step",
        "mean-of-codes" => "des codes n'ont pas de moyenne : last, min, max ou count",
        "percentile-of-codes" => "des codes n'ont pas de centile",
        "too-many-samples" => {
            return Some(format!(
                "{found} échantillons, plus que {expected} : un --from plus tardif, ou un --step plus large"
            ));
        }
        "share" => "attendu : plus de 0 et 1 au plus, comme 0.95",
        _ => return None,
    };
    Some(text.to_owned())
}
