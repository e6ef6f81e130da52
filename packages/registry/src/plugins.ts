import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { messageOf } from "@cache-registry/core/errors";
import { ConfigError } from "@cache-registry/runtime/config";
import type { FastifyInstance, FastifyPluginAsync, FastifyPluginCallback } from "fastify";

export type Plugin = FastifyPluginAsync | FastifyPluginCallback;

/** Fastify's own mark for a plugin that is not to be shut in a scope of its own: its hooks see every request. */
const UNSCOPED = Symbol.for("skip-override");

/**
 * Loads the modules that `plugins` names; the default export of each is a fastify plugin.
 * @throws ConfigError naming every key whose module cannot be loaded or is no plugin
 */
export async function loadPlugins(paths: readonly string[]): Promise<Plugin[]> {
  const problems: string[] = [];
  const plugins: Plugin[] = [];
  for (const [index, path] of paths.entries()) {
    try {
      const module: unknown = await import(pathToFileURL(resolve(path)).href);
      const exported = (module as { default?: unknown }).default;
      if (typeof exported === "function") plugins.push(exported as Plugin);
      else problems.push(`plugins.${index}: ${path} has no default export that is a function (a fastify plugin)`);
    } catch (error) {
      problems.push(`plugins.${index}: ${path} cannot be loaded: ${messageOf(error)}`);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return plugins;
}

/** Before the routes: the plugins' hooks run for each of them, in the order of the configuration. */
export async function registerPlugins(server: FastifyInstance, plugins: readonly Plugin[]): Promise<void> {
  for (const plugin of plugins) {
    await server.register(Object.assign(plugin.bind(undefined) as FastifyPluginAsync, { [UNSCOPED]: true }));
  }
}
