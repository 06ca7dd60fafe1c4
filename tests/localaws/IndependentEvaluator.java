package localaws;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * npm's @cloud-copilot/iam-simulate in a process of its own, which its licence (AGPL) asks for. It is looked for in
 * $IAM_SIMULATE/node_modules and among npm's global packages; without it the test that asks is skipped.
 */
public final class IndependentEvaluator {
    private static final String SCRIPT = """
            const fromModules = require('module').createRequire(process.argv[2] + '/x.js');
            const { runSimulation } = fromModules('@cloud-copilot/iam-simulate');
            const names = { Allowed: 'allowed', ExplicitlyDenied: 'explicitDeny', ImplicitlyDenied: 'implicitDeny' };
            (async () => {
              const decisions = [];
              for (const simulation of JSON.parse(require('fs').readFileSync(process.argv[3]))) {
                const response = await runSimulation(simulation, {});
                const ignored = response.result?.ignoredContextKeys ?? [];
                const wrong = response.resultType === 'error' || ignored.length;
                decisions.push(wrong ? JSON.stringify(response) : names[response.overallResult]);
              }
              console.log(JSON.stringify(decisions));
            })();
            """;

    private IndependentEvaluator() {
    }

    /**
     * allowed, explicitDeny or implicitDeny for each simulation, in the form that iam-simulate documents; what it finds
     * wrong instead, if it does.
     */
    public static List<String> decide(List<? extends JsonNode> simulations) throws IOException, InterruptedException {
        var modules = modules();
        assumeTrue(modules != null,
                "@cloud-copilot/iam-simulate is not installed (npm install -g @cloud-copilot/iam-simulate, or in the "
                        + "directory that IAM_SIMULATE names)");
        var directory = Files.createTempDirectory("iam-simulate");
        var script = Files.writeString(directory.resolve("simulate.cjs"), SCRIPT);
        var cases = directory.resolve("cases.json");
        try {
            Models.JSON.writeValue(cases.toFile(), simulations);
            var node = new ProcessBuilder("node", script.toString(), modules.toString(), cases.toString())
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .start();
            var decisions = new ArrayList<String>();
            Models.JSON.readTree(node.getInputStream()).forEach(decision -> decisions.add(decision.asText()));
            if (node.waitFor() != 0 || decisions.size() != simulations.size()) {
                throw new IOException("node: exit code " + node.exitValue() + ", " + decisions.size() + " decisions");
            }
            return decisions;
        } finally {
            for (var file : List.of(script, cases, directory)) Files.deleteIfExists(file);
        }
    }

    private static Path modules() throws InterruptedException {
        var places = new ArrayList<Path>();
        if (System.getenv("IAM_SIMULATE") != null) places.add(Path.of(System.getenv("IAM_SIMULATE"), "node_modules"));
        try {
            var npm = new ProcessBuilder("npm", "root", "-g").redirectError(ProcessBuilder.Redirect.DISCARD).start();
            try (InputStream out = npm.getInputStream()) {
                places.add(Path.of(new String(out.readAllBytes()).trim()));
            }
            npm.waitFor();
        } catch (IOException e) {
            return null; // without npm there is hardly node
        }
        return places.stream().filter(place -> Files.isDirectory(place.resolve("@cloud-copilot/iam-simulate")))
                .findFirst().orElse(null);
    }
}
