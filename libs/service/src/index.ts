export { dataEnv } from './base-env.ts'
export { address, EnvError, type EnvOf, integer, oneOf, optional, parseEnv, text, url } from './env.ts'
export { type BuiltService, runService, type ServiceContext } from './run-service.ts'
export { VERSION } from './version.ts'
