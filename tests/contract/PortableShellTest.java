import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The shell that people run on machines of their own works with bash 3.2 and without GNU's tools, as on macOS. Whoever
 * has more uses what is missing there without noticing it; this test notices.
 */
class PortableShellTest {
    /** What some machine lacks: a pattern, and a line in which it is to be found. */
    record Missing(String what, String pattern, String example) {
        boolean isIn(String line) {
            return Pattern.compile(pattern).matcher(line).find();
        }
    }

    static final String TOOLS = "cat|chmod|cksum|cp|cut|date|diff|find|grep|head|ls|mkdir|mktemp|mv|readlink|rm|sed|"
            + "shasum|sha256sum|sort|tail|touch|tr|wc|xargs";
    static final List<Missing> MISSING = List.of(
            new Missing("GNU's long options", "(?<!aws s3 )\\b(" + TOOLS + ")( -\\S+)* --[a-z]", "sort -u --reverse"),
            new Missing("mv -T, cp -T", "\\b(mv|cp) (-\\w+ )*-\\w*[Tt]", "mv -f -T a b"),
            new Missing("readlink -f", "\\breadlink -\\w*[efm]", "readlink -f a"),
            new Missing("realpath", "\\brealpath\\b", "x=$(realpath a)"),
            new Missing("flock", "\\bflock\\b", "flock 9"),
            new Missing("timeout, tac, nproc", "(^|[|;(] *)(timeout|tac|nproc) ", "timeout 5 true"),
            new Missing("date -d, date +%N", "\\bdate (-d|\\S*%N)", "date -d yesterday"),
            new Missing("sed -i, sed -r", "\\bsed (-\\w+ )*-\\w*[irsz]", "sed -n -i s/a/b/ c"),
            new Missing("grep -P", "\\bgrep (-\\w+ )*-\\w*P", "grep -qP a b"),
            new Missing("stat, of which no two are the same", "(^|[|;(] *)stat ", "x=$(stat -c %s a)"),
            new Missing("base64 -d, base64 -w", "\\bbase64 .*-[dw]", "base64 -w 0 a"),
            new Missing("xargs -r, xargs -d", "\\bxargs (-\\S+ ([0-9]+ )?)*-\\w*[rd]\\b", "xargs -n 5 -r rm"),
            new Missing("find -printf", "\\bfind .* -printf", "find . -printf %s"),
            new Missing("head -c, head -n -N", "\\bhead (-c|-n -|-[0-9])", "head -c 5 a"),
            new Missing("tail -N", "\\btail -[0-9]", "tail -1 a"),
            new Missing("mktemp -p, mktemp -t", "\\bmktemp (-d )?-[pt]", "mktemp -d -p a"),
            new Missing("sort -V, sort -z", "\\bsort -\\w*[Vz]", "sort -z a"),
            new Missing("env -S", "\\benv -\\w*S", "#!/usr/bin/env -S bash -e"),
            new Missing("mapfile", "\\b(mapfile|readarray)\\b", "mapfile -t a"),
            new Missing("associative arrays, name references", "\\b(declare|local|typeset) -\\w*[Alnu]", "local -A a"),
            new Missing("${x@Q}", "\\$\\{\\w+(\\[[^]]*])?@[A-Za-z]}", "echo ${a[@]@Q}"),
            new Missing("${x,,}, ${x^^}", "\\$\\{\\w+(\\[[^]]*])?(,|\\^)", "echo ${a^}"),
            new Missing("${x[-1]}", "\\$\\{#?\\w+\\[-", "echo ${a[-1]}"),
            new Missing("[[ -v x ]]", "(\\[|test) (.* )?-[vR] ", "[[ -v a ]]"),
            new Missing("|&, &>>", "\\|&|&>>", "a |& b"),
            new Missing(";&", ";;?&", "a) b ;;&"),
            new Missing("coproc", "\\bcoproc\\b", "coproc a"),
            new Missing("wait -n", "\\bwait -[nfp]", "wait -n"),
            new Missing("read -N", "\\bread (-\\w+ )*-\\w*[Ni]", "read -r -N 5 a"),
            new Missing("printf %(...)T", "%\\([^)]*\\)T", "printf '%(%s)T'"),
            new Missing("{x}>file", "\\{[a-z]\\w*}[<>]", "exec {a}>b"),
            new Missing("shopt -s globstar, shopt -s lastpipe", "\\b(globstar|lastpipe)\\b", "shopt -s lastpipe"),
            new Missing("variables of bash 4 and 5", "\\b(BASHPID|EPOCH(SECONDS|REALTIME)|SRANDOM)\\b", "$BASHPID"));

    /** The shell of each file; of the README, each block. */
    static Map<String, String> shell() {
        var shell = new TreeMap<String, String>();
        for (var file : List.of("jbang", "tests/localaws/tour.sh", ".ci/run")) shell.put(file, Toolkit.read(file));
        var blocks = Pattern.compile("(?ms)^```sh\n(.*?)^```$").matcher(Toolkit.read("README.md")).results().toList();
        for (var block : blocks) shell.put("README.md, sh block " + (blocks.indexOf(block) + 1), block.group(1));
        return shell;
    }

    static List<String> findings(String shell) {
        var findings = new ArrayList<String>();
        var lines = shell.lines().filter(line -> !line.strip().startsWith("#") || line.startsWith("#!")).toList();
        for (var line : lines) {
            for (var missing : MISSING) {
                if (missing.isIn(line)) findings.add(missing.what() + ": " + line.strip());
            }
        }
        if (shell.contains("sha256sum") && !shell.contains("shasum -a 256")) {
            findings.add("sha256sum, without shasum where it is missing");
        }
        // with set -u, before bash 4.4
        for (var array : Pattern.compile("\\b(\\w+)=\\((\"\\$@\")?\\)").matcher(shell).results().toList()) {
            var name = array.group(1);
            var guarded = "${" + name + "[@]+\"${" + name + "[@]}\"}";
            if (shell.replace(guarded, "").contains("${" + name + "[@]}") && !shell.contains("${#" + name + "[@]}")) {
                findings.add("an array that may be empty, other than as " + guarded);
            }
        }
        return findings;
    }

    @Test
    void usesOnlyWhatAllHave() {
        var findings = new ArrayList<String>();
        shell().forEach((file, text) -> findings(text).forEach(finding -> findings.add(file + ": " + finding)));
        assertEquals("", String.join("\n", findings));
        assertTrue(shell().size() > 8, shell().keySet().toString());
    }

    static Stream<Missing> missing() {
        return MISSING.stream();
    }

    @ParameterizedTest
    @MethodSource("missing")
    void findsWhatIsMissingSomewhere(Missing missing) {
        assertTrue(findings(missing.example()).stream().anyMatch(finding -> finding.startsWith(missing.what())),
                missing.toString());
    }

    @Test
    void findsWhatNeedsAnAlternative() {
        assertEquals(1, findings("echo \"$sum  a\" | sha256sum -c").size());
        assertEquals(1, findings("a=(\"$@\")\nset -- \"${a[@]}\"").size());
        assertEquals(List.of(), findings("a=()\nset -- ${a[@]+\"${a[@]}\"}"));
    }
}
