//! Language tags, from the codes that media files have.

/// ISO 639-2 codes, with the bibliographic ones, and the ISO 639-1 codes of the same languages.
const CODES: &str = "\
aar:aa abk:ab afr:af aka:ak alb:sq amh:am ara:ar arg:an arm:hy asm:as ava:av ave:ae aym:ay aze:az bak:ba bam:bm baq:eu \
bel:be ben:bn bis:bi bod:bo bos:bs bre:br bul:bg bur:my cat:ca ces:cs cha:ch che:ce chi:zh chu:cu chv:cv cor:kw cos:co \
cre:cr cym:cy cze:cs dan:da deu:de div:dv dut:nl dzo:dz ell:el eng:en epo:eo est:et eus:eu ewe:ee fao:fo fas:fa fij:fj \
fin:fi fra:fr fre:fr fry:fy ful:ff geo:ka ger:de gla:gd gle:ga glg:gl glv:gv gre:el grn:gn guj:gu hat:ht hau:ha heb:he \
her:hz hin:hi hmo:ho hrv:hr hun:hu hye:hy ibo:ig ice:is ido:io iii:ii iku:iu ile:ie ina:ia ind:id ipk:ik isl:is ita:it \
jav:jv jpn:ja kal:kl kan:kn kas:ks kat:ka kau:kr kaz:kk khm:km kik:ki kin:rw kir:ky kom:kv kon:kg kor:ko kua:kj kur:ku \
lao:lo lat:la lav:lv lim:li lin:ln lit:lt ltz:lb lub:lu lug:lg mac:mk mah:mh mal:ml mao:mi mar:mr may:ms mkd:mk mlg:mg \
mlt:mt mon:mn mri:mi msa:ms mya:my nau:na nav:nv nbl:nr nde:nd ndo:ng nep:ne nld:nl nno:nn nob:nb nor:no nya:ny oci:oc \
oji:oj ori:or orm:om oss:os pan:pa per:fa pli:pi pol:pl por:pt pus:ps que:qu roh:rm ron:ro rum:ro run:rn rus:ru sag:sg \
san:sa sin:si slk:sk slo:sk slv:sl sme:se smo:sm sna:sn snd:sd som:so sot:st spa:es sqi:sq srd:sc srp:sr ssw:ss sun:su \
swa:sw swe:sv tah:ty tam:ta tat:tt tel:te tgk:tg tgl:tl tha:th tib:bo tir:ti ton:to tsn:tn tso:ts tuk:tk tur:tr twi:tw \
uig:ug ukr:uk urd:ur uzb:uz ven:ve vie:vi vol:vo wel:cy wln:wa wol:wo xho:xh yid:yi yor:yo zha:za zho:zh zul:zu";

/// The BCP 47 tag of a language: its shortest code, as RFC 5646 §4.5 asks. A code without a shorter one is a tag as it is.
pub(super) fn tag(code: &str) -> String {
    let mut codes = CODES.split(' ').filter_map(|pair| pair.split_once(':'));
    let short = codes.find_map(|(long, short)| (long == code).then_some(short));
    short.unwrap_or(code).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_shortest_code_of_the_language() {
        for (code, expected) in [
            ("aar", "aa"),
            ("eng", "en"),
            ("deu", "de"),
            ("ger", "de"),
            ("zul", "zu"),
            // Some have no shorter one.
            ("gsw", "gsw"),
            ("mul", "mul"),
        ] {
            assert_eq!(tag(code), expected);
        }
    }

    #[test]
    fn codes_are_in_order_and_of_their_lengths() {
        let codes: Vec<_> = CODES.split(' ').collect();
        assert!(codes.is_sorted());
        let regular = |pair: &&str| {
            let codes = pair.split_once(':');
            codes.is_some_and(|(long, short)| (long.len(), short.len()) == (3, 2))
        };
        assert!(codes.iter().all(regular));
        let longs: std::collections::BTreeSet<_> = codes.iter().map(|pair| &pair[..3]).collect();
        assert_eq!(longs.len(), codes.len());
    }
}
