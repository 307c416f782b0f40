import packageJson from '../package.json' with { type: 'json' }

/** Version of the program: all packages of docmesh carry the same. */
export const VERSION: string = packageJson.version
