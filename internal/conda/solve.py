# Solves with rattler, and tells it as conda does. Its arguments: the platform, and a JSON object
# with the channels and the specs.
import asyncio, json, os, sys
import rattler

CHANNELS = {
    "defaults": ["https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r"],
}


async def solve(platform, channels, specs):
    overrides = rattler.VirtualPackageOverrides.from_env()
    return await rattler.solve(
        [url for name in channels for url in CHANNELS.get(name, [name])],
        specs,
        gateway=rattler.Gateway(client=rattler.Client.default_client()),
        platforms=[platform, "noarch"],
        virtual_packages=rattler.VirtualPackage.detect(overrides=overrides),
    )


asked = json.loads(sys.argv[2])
code = 0
try:
    found = asyncio.run(solve(sys.argv[1], asked["channels"], asked["specs"]))
    answer = {"success": True, "actions": {"LINK": [json.loads(r.to_json()) for r in found]}}
except Exception as e:
    answer, code = {"success": False, "message": str(e)}, 1
print(json.dumps(answer), flush=True)
os._exit(code)  # rattler's threads may still be at work, and abort an interpreter that ends under them
