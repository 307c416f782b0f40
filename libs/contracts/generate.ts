// Regenerates src/gen and the descriptor image that server reflection serves: `npm run generate`.
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'

const buf = (...args: string[]): void => {
  execFileSync('buf', args, { stdio: 'inherit' })
}
buf('generate')
mkdirSync('libs/contracts/src/gen', { recursive: true })
buf('build', '--as-file-descriptor-set', '--exclude-source-info', '-o', 'libs/contracts/src/gen/image.binpb')
